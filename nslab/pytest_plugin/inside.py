"""A command inside a host of a lab, as `nslab exec` runs it, with its streams in memory."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from nslab.linux.netns import folder
from nslab.linux.processes.exec import NotRunning, communicate

if TYPE_CHECKING:
    from nslab.linux.processes.exec import ExecRequest


def run_inside(command: ExecRequest, text: str, timeout: float) -> subprocess.CompletedProcess[str]:
    """Run a command; AssertionError after the timeout (its processes are gone then), or if its host does not run."""
    __tracebackhide__ = True
    try:
        return communicate(folder(command.lab), command, text, timeout)
    except subprocess.TimeoutExpired as late:
        output = f"{late.output!s}{late.stderr!s}".rstrip()
        raise AssertionError(f"{' '.join(command.argv)}: not within {timeout:g} s\n{output}") from None
    except NotRunning as absent:
        raise AssertionError(str(absent)) from None
