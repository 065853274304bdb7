"""Which pods terminate when a lab changes, and which terminating pods have ended."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nslab.dataclass import replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab

    Key = tuple[str, str]


def timestamp(seconds: float) -> str:
    """The API's timestamp of a time in seconds since 1970; "" for 0."""
    return f"{datetime.fromtimestamp(math.ceil(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else ""


def seconds_of(text: str | None) -> float:
    """The seconds since 1970 of a timestamp of the API; 0 without a valid one."""
    with suppress(ValueError):
        return datetime.fromisoformat(text or "").timestamp()
    return 0.0


def key(pod: Pod) -> Key:
    """The identity of a pod: its namespace and name."""
    return pod.namespace, pod.name


def without_terminating(lab: Lab) -> Lab:
    """The lab without its terminating pods."""
    return replace(lab, pods=tuple(pod for pod in lab.pods if not pod.deletion))


def with_leaving(new: Lab, kept: Lab) -> Lab:
    """The new lab, and the pods of the kept one that terminate, last; none whose name another one has."""
    there = {key(pod) for pod in new.pods}
    leaving = (pod for pod in kept.pods if pod.deletion and key(pod) not in there)
    return replace(new, pods=(*new.pods, *leaving))


def without(lab: Lab, gone: Collection[Key]) -> Lab:
    """The lab without those of its terminating pods that are `gone`: none of their processes runs."""
    return replace(lab, pods=tuple(pod for pod in lab.pods if not (pod.deletion and key(pod) in gone)))


def with_terminating(new: Lab, kept: Lab, now: float, grace: int | None = None) -> Lab:
    """The new lab, and as terminating the pods that only the old one has. `grace`: in place of their own grace periods.

    A pod whose name, address or host port a new pod needs is dropped at once.
    """
    nodes = {node.name for node in new.nodes}
    claims = {claim for pod in new.pods for claim in _claims(pod)}
    left = (pod for pod in kept.pods if pod.node in nodes and claims.isdisjoint({*_claims(pod), ("ip", pod.assigned)}))
    terminating = tuple(replace(pod, owner="", deletion=_end(pod, now, grace)) for pod in left)
    return replace(new, pods=(*new.pods, *(pod for pod in terminating if pod.deletion)))


def _end(pod: Pod, now: float, grace: int | None) -> float:
    """When to kill a terminating pod; 0: at once. One that is terminating already never gets more time."""
    seconds = pod.grace if grace is None else grace
    end = now + seconds if seconds else 0.0
    return min(end, pod.deletion) if pod.deletion and (end or grace is None) else end


def _claims(pod: Pod) -> Iterator[tuple[object, ...]]:
    """What a pod shares with no other."""
    yield ("pod", *key(pod))
    if pod.requested:
        yield ("ip", pod.requested)
    for container in pod.containers:
        for port in container.ports:
            if port.host_port:
                yield ("port", pod.node, port.host_port, port.protocol)
