"""The arguments and options that several verbs take, and the file of a lab."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from nslab.cli.complete import running_labs, shipped_labs
from nslab.cli.output import Format
from nslab.cli.parsing import AnyCase, running
from nslab.errors import UsageError
from nslab.lab.types import Encapsulation, ProxyMode

if TYPE_CHECKING:
    from pathlib import Path


LabSource = Annotated[str, typer.Argument(metavar="LAB|FILE|DIR|-", autocompletion=shipped_labs)]
LabOrNone = Annotated[str | None, typer.Argument(metavar="LAB|FILE|DIR|-", autocompletion=shipped_labs)]
RunningLab = Annotated[str, typer.Argument(metavar="LAB", autocompletion=running_labs, callback=running)]
EncapsulationOption = Annotated[
    Encapsulation | None,
    typer.Option(
        "--encapsulation",
        click_type=AnyCase([*map(str, Encapsulation)]),
        help="Use this Calico encapsulation instead of the file's.",
    ),
]
ProxyOption = Annotated[
    ProxyMode | None,
    typer.Option(
        "--proxy-mode",
        click_type=AnyCase([*map(str, ProxyMode)]),
        help="Use this kube-proxy mode instead of the file's.",
    ),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="table, json or yaml.")]
"""The option of every verb that lists."""


def file_of(source: str) -> Path:
    """The file of a lab; for a running lab without a file of that name, its stored desired state."""
    from nslab.lab.find import find
    from nslab.linux.netns import folder, labs

    try:
        return find(source)
    except UsageError:
        if source not in labs():
            raise
        kept = folder(source) / "lab.yaml"
        if not os.access(folder(source), os.X_OK):
            raise UsageError(f"{source} runs, but only root can read its file: put sudo before it") from None
        if kept.exists():
            return kept
        raise
