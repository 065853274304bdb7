"""BIRD's configuration of a machine, from the template of nodes or of routers."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Template

    from nslab.bgp.speaker import Speaker


def config(speaker: Speaker) -> str:
    """The text of bird.conf."""
    return _template("node" if speaker.pool else "router").render(speaker=speaker)


@cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # needed by few labs

    # BIRD's text, not HTML; its values are addresses and numbers.
    environment = Environment(  # noqa: S701
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(f"{name}.conf.j2")
