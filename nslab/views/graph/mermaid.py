"""The picture as a Mermaid flowchart, which GitHub and GitLab draw within Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.quote import one_line
from nslab.views.graph.model import Role
from nslab.views.graph.numbered import Numbered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.views.graph.model import Box, Graph

_MEANS_SOMETHING = frozenset('"#&;<>[]{}()|`\\*_~$%')


def mermaid(graph: Graph) -> str:
    """The flowchart. Names stand in labels only, escaped: an identifier is a number."""
    ids = Numbered(graph)
    lines = ["flowchart TB", f"  accTitle: {_plain(graph.title)}"]
    for box in graph.boxes:
        if box.role is not Role.POD:
            lines += _box(graph, ids, box, "  ")
    lines += [f"  {ids.end(*one)} --- {ids.end(*other)}" for one, other in ids.links()]
    marked = [ids.end(*end) for end in ids.ends() if end[1] and graph.marks(*end)]
    if marked := [*(ids.box(box.host) for box in graph.boxes if graph.marks(box.host, "")), *marked]:
        lines += ["  classDef differs stroke:#c00,stroke-width:3px", f"  class {','.join(marked)} differs"]
    return "\n".join([*lines, *(f"  %% {_plain(one.text)}" for one in graph.findings or ())]) + "\n"


def _box(graph: Graph, ids: Numbered, box: Box, indent: str) -> Iterator[str]:
    yield f'{indent}subgraph {ids.box(box.host)}["{_label(box.name)}"]'
    for pod in graph.pods(box.host) if box.role is Role.NODE else ():
        yield from _box(graph, ids, pod, f"{indent}  ")
    for one in ids.drawn(box):
        words = "<br/>".join(map(_label, (one.name, *one.addresses)))
        yield f'{indent}  {ids.end(box.host, one.name)}["{words}"]'
    if ids.has_middle(box):
        yield f'{indent}  {ids.end(box.host, "")}(["{"router" if box.routes else " "}"])'
    yield f"{indent}end"


def _label(text: str) -> str:
    """A text within quotes: what Mermaid or HTML would interpret stands as a numbered entity (`#60;`)."""
    return "".join(f"#{ord(char)};" if char in _MEANS_SOMETHING else char for char in one_line(text))


def _plain(text: str) -> str:
    """A text to the end of the line, in which a semicolon would end the statement, and braces begin another."""
    return "".join(char for char in one_line(text).replace(";", ",") if char not in "{}%#")
