"""A command inside a host of a lab, as `nslab exec` runs it, with its streams in memory."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from nslab.linux.netns import folder
from nslab.linux.processes.exec import Absent, Command, communicate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.pytest_plugin.hosts import Host


def run_inside(
    host: Host, container: str | None, argv: Sequence[str], text: str, timeout: float
) -> subprocess.CompletedProcess[str]:
    """Run a command; AssertionError if it takes too long. Nothing of it is left then."""
    __tracebackhide__ = True
    lab = host.lab.name
    inside = container or host.containers[0] if host.containers else ""
    try:
        return communicate(folder(lab), Command(lab, host.name, host.node or host.name, inside, argv), text, timeout)
    except subprocess.TimeoutExpired as late:
        said = f"{late.output!s}{late.stderr!s}".rstrip()
        raise AssertionError(f"{' '.join(argv)}: not within {timeout:g} s\n{said}") from None
    except Absent as absent:
        raise AssertionError(str(absent)) from None
