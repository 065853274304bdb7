"""The picture in Graphviz's language."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.quote import one_line
from nslab.views.graph.model import TUNNELS, Role
from nslab.views.graph.numbered import Numbered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.views.graph.model import Box, Graph

_HEAD = """\
graph {
  graph [compound=true, fontname="sans-serif", rankdir=TB]
  node [shape=box, style=rounded, fontname="monospace", fontsize=10]
  edge [color=gray40]"""


def dot(graph: Graph) -> str:
    """An undirected graph with a cluster for each host. Names stand in labels only, quoted."""
    ids = Numbered(graph)
    lines = [*_HEAD.splitlines(), f"  label={_quoted(graph.title)}"]
    for box in graph.boxes:
        if box.role is not Role.POD:
            lines += _box(graph, ids, box, "  ")
    lines += [f"  {ids.end(*one)} -- {ids.end(*other)}" for one, other in ids.links()]
    return "\n".join([*lines, "}"]) + "\n"


def _box(graph: Graph, ids: Numbered, box: Box, indent: str) -> Iterator[str]:
    yield f"{indent}subgraph cluster_{ids.box(box.host)} {{"
    # A cluster inherits its parent's attributes.
    colour = "red" if graph.marks(box.host, "") else "gray40"
    yield f"{indent}  label={_quoted(box.name)}; color={colour}; tooltip={_quoted(_tip(graph, box.host, '', box.name))}"
    for pod in graph.pods(box.host) if box.role is Role.NODE else ():
        yield from _box(graph, ids, pod, f"{indent}  ")
    for one in ids.drawn(box):
        more = ", style=dashed" if one.kind in TUNNELS else ""
        more += f", color=red, tooltip={_quoted(_tip(graph, box.host, one.name, ''))}" * bool(
            graph.marks(box.host, one.name)
        )
        yield f"{indent}  {ids.end(box.host, one.name)} [label={_quoted(one.name, *one.addresses)}{more}]"
    if ids.has_middle(box):
        yield f'{indent}  {ids.end(box.host, "")} [label="{"router" if box.routes else ""}", shape=ellipse]'
    yield f"{indent}}}"


def _tip(graph: Graph, host: str, dev: str, otherwise: str) -> str:
    return "; ".join(graph.marks(host, dev)) or otherwise


def _quoted(*lines: str) -> str:
    r"""Lines as one quoted string, in which a backslash begins an escape (`\n`, `\N` for the node's name)."""
    escaped = (one_line(line).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
