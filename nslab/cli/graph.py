"""`nslab graph`: a lab as a picture."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.arguments import EncapsulationOption, LabSource, ProxyOption
from nslab.cli.deliver import OpenOption, WriteOption, deliver
from nslab.cli.output import need_root
from nslab.cli.parsing import running
from nslab.errors import UsageError

if TYPE_CHECKING:
    from nslab.app.graph import Pictured


class PictureFormat(StrEnum):
    """The formats of a picture."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"
    HTML = "html"


def graph(
    source: LabSource,
    output: Annotated[
        PictureFormat, typer.Option("--output", "-o", help="text, mermaid, dot, svg or html (a page to click on).")
    ] = PictureFormat.TEXT,
    live: Annotated[
        bool, typer.Option("--live", help="Mark what in the running lab differs from its desired state. Takes root.")
    ] = False,
    write: WriteOption = "",
    opened: OpenOption = False,
    encapsulation: EncapsulationOption = None,
    proxy_mode: ProxyOption = None,
) -> None:
    """Draw a lab: its nodes, pods, interfaces and addresses, and the wire between them.

    It needs no root, and the lab need not be up. The page (-o html) needs no network: choose anything in it to see its
    addresses, routes and rules, and the command that shows them. --open shows it at once.

    Example: nslab graph calico-two-node -o svg > calico.svg
    """
    if live:
        need_root("graph --live")
        if encapsulation or proxy_mode:
            raise UsageError("--live draws the lab as it runs: without --encapsulation and --proxy-mode")
    output = PictureFormat.HTML if opened and output is PictureFormat.TEXT else output
    if opened and output not in (PictureFormat.HTML, PictureFormat.SVG):
        raise UsageError(f"--open is for html and svg: no browser shows {output}")
    from nslab.app.desired import desired
    from nslab.app.graph import live as observed
    from nslab.app.graph import pictured

    found = observed(running(source) or source) if live else pictured(desired(source, encapsulation, proxy_mode))
    deliver(_drawn(found, output), f".{output}", write=write, opened=opened)


def _drawn(found: Pictured, output: PictureFormat) -> str:
    match output:
        case PictureFormat.TEXT:
            from nslab.views.graph.text import text

            return text(found.graph)
        case PictureFormat.MERMAID:
            from nslab.views.graph.mermaid import mermaid

            return mermaid(found.graph)
        case PictureFormat.DOT:
            from nslab.views.graph.dot import dot

            return dot(found.graph)
        case PictureFormat.SVG:
            from nslab.views.graph.svg import svg

            return svg(found.graph)
        case PictureFormat.HTML:
            from nslab.views.page import page

            return page(found.graph, found.state)
