"""The logs of a container."""

from __future__ import annotations

import os
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from nslab.api.duration import seconds_of
from nslab.app.inside import container_of, controller_named, find_pod
from nslab.errors import UsageError
from nslab.lab.selection import matching
from nslab.linux.netns import folder
from nslab.linux.processes import logs, status
from nslab.linux.stored_lab import no_such_lab, stored_lab
from nslab.objects.names import namesake, pod_host

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nslab.api.pod_types import Pod
    from nslab.linux.processes.logs import Entry

Line = TypeVar("Line")


def pod_of(lab: str, host: str) -> Pod:
    """Return the pod of a running lab whose host name is `host`; UsageError if there is none."""
    desired = stored_lab(lab)
    pod = find_pod(desired.pods, host)
    if pod is None:
        meant = namesake(host, (pod_host(one.namespace, one.name) for one in desired.pods)) or controller_named(
            desired, host
        )
        raise UsageError(f"{lab} has no pod {host!r}" + (f"; did you mean {lab}/{meant}?" if meant else ""))
    return pod


def pods_of(lab: str, selector: str, namespace: str = "default") -> list[Pod]:
    """Return the pods of a namespace whose labels a selector matches, by name."""
    there = {pod.name: pod for pod in stored_lab(lab).pods if pod.namespace == namespace}
    objects = [{"metadata": {"name": name, "labels": dict(pod.labels)}} for name, pod in sorted(there.items())]
    return [there[one["metadata"]["name"]] for one in matching(objects, selector)]


def as_they_come(streams: Sequence[Iterator[Line]]) -> Iterator[Line]:
    """Yield the items of several streams as they come; each is read in a thread of its own."""
    came: SimpleQueue[tuple[Line, ...] | BaseException | None] = SimpleQueue()

    def read(stream: Iterator[Line]) -> None:
        try:
            for item in stream:
                came.put((item,))
        except BaseException as error:
            came.put(error)
        else:
            came.put(None)

    for stream in streams:
        Thread(target=read, args=(stream,), daemon=True).start()
    left = len(streams)
    while left:
        item = came.get()
        if isinstance(item, BaseException):
            raise item
        left -= item is None
        yield from item or ()


def entries(
    lab: str,
    pod: Pod,
    container: str | None,
    *,
    follow: bool = False,
    tail: int = -1,
    since: float = 0.0,
    previous: bool = False,
) -> Iterator[Entry]:
    """Yield the log lines of a container's last run, or of the run before it (`previous`).

    `tail`: of the last `tail` lines, -1: of all; `since`: only those written then or later, in seconds since 1970. With
    `follow`, wait for more lines until this run ends or its pod or the lab is removed.
    """
    try:
        whole = os.stat(folder(lab))
    except FileNotFoundError:  # `down` has just taken it away
        raise no_such_lab(lab) from None
    chosen = container_of(pod, container)
    directory = logs.folder(folder(lab), pod.node, f"{pod.namespace}_{pod.name}_{pod.uid}", chosen)
    files = logs.attempts(directory)
    if previous and status.runs(lab, pod.namespace, pod.name, chosen):
        files = files[1:]  # while a container waits for its restart, the last run is the previous one
    if not files:
        which = "previous terminated container" if previous else "container"
        raise UsageError(f"{which} {chosen!r} in pod {pod.name!r} not found")

    def going() -> bool:
        # The open file keeps the folder's inode alive after `down`, so compare it with the one at this path now.
        if not _is_still(folder(lab), whole) or logs.attempts(directory)[:1] != files[:1]:
            return False
        return not status.over(lab, pod.namespace, pod.name, chosen)

    found = logs.read(files[0], follow=follow, tail=None if tail < 0 else tail, going=going)
    return (entry for entry in found if not since or seconds_of(entry.timestamp) >= since)


def _is_still(directory: Path, seen: os.stat_result) -> bool:
    try:
        return os.path.samestat(os.stat(directory), seen)
    except FileNotFoundError:
        return False
