"""What a container printed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nslab.app.inside import container_of, find_pod
from nslab.errors import UsageError
from nslab.linux.netns import folder
from nslab.linux.processes import logs, status
from nslab.linux.stored_lab import no_such_lab, stored_lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nslab.lab.types import Pod
    from nslab.linux.processes.logs import Entry


def pod_of(lab: str, host: str) -> Pod:
    """The pod of a running lab that a host is; UsageError if it is none."""
    pod = find_pod(stored_lab(lab).pods, host)
    if pod is None:
        raise UsageError(f"{lab} has no pod {host!r}")
    return pod


def entries(
    lab: str, pod: Pod, container: str | None, *, follow: bool = False, tail: int = -1, previous: bool = False
) -> Iterator[Entry]:
    """The lines of a container's run, or of the one before it; `tail`: only so many of the last, -1 for all.

    With `follow`, they go on as they come, until this run has ended, or its pod or the lab is taken away.
    """
    try:
        whole = os.stat(folder(lab))
    except FileNotFoundError:  # `down` has just taken it away
        raise no_such_lab(lab) from None
    chosen = container_of(pod, container)
    directory = logs.folder(folder(lab), pod.node, f"{pod.namespace}_{pod.name}_{pod.uid}", chosen)
    files = logs.attempts(directory)
    if previous and status.runs(lab, pod.namespace, pod.name, chosen):
        files = files[1:]  # of one that waits to be started again, the run before is the last one
    if not files:
        which = "previous terminated container" if previous else "container"
        raise UsageError(f"{which} {chosen!r} in pod {pod.name!r} not found")

    def going() -> bool:
        # We hold the folder open: of a lab that was taken away, too.
        if not _is_still(folder(lab), whole) or logs.attempts(directory)[:1] != files[:1]:
            return False
        return not status.over(lab, pod.namespace, pod.name, chosen)

    return logs.read(files[0], follow=follow, tail=None if tail < 0 else tail, going=going)


def _is_still(directory: Path, seen: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(directory), seen)
    except FileNotFoundError:
        return False
