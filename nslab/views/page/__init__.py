"""The page: one file of HTML with the picture, what is in each host, and journeys to step through (pure).

It needs no network: style, scripts and data stand in it, and its content security policy allows nothing else.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.quote import one_line
from nslab.views.graph import svg
from nslab.views.graph.colours import variables
from nslab.views.graph.place import place
from nslab.views.page.data import data

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.objects.base import State
    from nslab.trace.hops import Journey
    from nslab.views.graph.model import Graph

SCRIPTS = ("words", "picture", "details", "journey", "main")
"""Modules of one scope, in the order in which they are put together."""
_HIDDEN = str.maketrans({"<": r"\u003c", ">": r"\u003e", "&": r"\u0026"})
"""For JSON within an element: nothing in it can end the element, or begin a comment."""


def page(graph: Graph, state: State, journeys: Sequence[Journey] = ()) -> str:
    """The file. `state`: the lab's desired state, compiled; `journeys`: those that a packet takes, or may take."""
    drawing = place(graph, told=False)
    style, script = f"{variables()}{svg.style()}{_file('page.css')}", _script()
    parts = {
        "policy": f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        "title": escape(one_line(graph.title)),
        "style": style,
        "picture": svg.drawn(graph, drawing, role="group"),
        "data": json.dumps(data(graph, state, drawing, journeys)).translate(_HIDDEN),
        "script": script,
    }
    # In one pass: what is put in is not searched for further places.
    return re.sub(r"\{\{([a-z]+)\}\}", lambda found: parts[found[1]], _file("page.html"))


@cache
def _script() -> str:
    body = "\n".join(_file(f"{name}.js") for name in SCRIPTS)
    return f'"use strict";\n(() => {{\n{body}}})();\n'


def _file(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    """A source in a content security policy: the one script, or style sheet, with this text."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
