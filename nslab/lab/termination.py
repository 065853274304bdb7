"""Pods that terminate: which do when a lab becomes another, and which need not be there any more."""

from __future__ import annotations

import math
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nslab.dataclass import replace

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from nslab.lab.pod_types import Pod
    from nslab.lab.types import Lab

    Key = tuple[str, str]


def timestamp(seconds: float) -> str:
    """A moment (seconds since 1970) as the API has it; "" for 0."""
    return f"{datetime.fromtimestamp(math.ceil(seconds), UTC):%Y-%m-%dT%H:%M:%SZ}" if seconds else ""


def seconds_of(text: str | None) -> float:
    """The seconds since 1970 of such a moment; 0 for none, and for what is no moment."""
    with suppress(ValueError):
        return datetime.fromisoformat(text or "").timestamp()
    return 0.0


def key(pod: Pod) -> Key:
    """What tells a pod from all others."""
    return pod.namespace, pod.name


def without_terminating(lab: Lab) -> Lab:
    """The lab with those of its pods that are to stay."""
    return replace(lab, pods=tuple(pod for pod in lab.pods if not pod.deletion))


def without(lab: Lab, gone: Collection[Key]) -> Lab:
    """The lab without those terminating pods of whom nothing runs any more."""
    return replace(lab, pods=tuple(pod for pod in lab.pods if not (pod.deletion and key(pod) in gone)))


def with_terminating(new: Lab, kept: Lab, now: float, grace: int | None = None) -> Lab:
    """The new lab with the pods that it has no more: from now on they terminate. `grace`: instead of what they say.

    One that is in the way of a new pod, by its name, its address or a port of its node, cannot stay so long.
    """
    nodes = {node.name for node in new.nodes}
    claims = {claim for pod in new.pods for claim in _claims(pod)}
    left = (pod for pod in kept.pods if pod.node in nodes and claims.isdisjoint({*_claims(pod), ("ip", pod.assigned)}))
    terminating = tuple(replace(pod, owner="", deletion=_end(pod, now, grace)) for pod in left)
    return replace(new, pods=(*new.pods, *(pod for pod in terminating if pod.deletion)))


def _end(pod: Pod, now: float, grace: int | None) -> float:
    """When a pod is killed that is to terminate; 0: at once. One that terminates already is never given more time."""
    seconds = pod.grace if grace is None else grace
    end = now + seconds if seconds else 0.0
    return min(end, pod.deletion) if pod.deletion and (end or grace is None) else end


def _claims(pod: Pod) -> Iterator[tuple[object, ...]]:
    """What no other pod can have beside this one."""
    yield ("pod", *key(pod))
    if pod.requested:
        yield ("ip", pod.requested)
    for container in pod.containers:
        for port in container.ports:
            if port.host_port:
                yield ("port", pod.node, port.host_port, port.protocol)
