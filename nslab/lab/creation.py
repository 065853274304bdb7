"""When each object of a running lab was created. What came with the lab has its time, so only later ones are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.lab.history import replica_sets

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Lab

LAB = ""
"""The key of the lab's own time."""


def key(kind: str, namespace: str, name: str, uid: str = "") -> str:
    """The key of an object. `uid`: a pod's, which tells it from an earlier one of its name."""
    return "/".join(filter(None, (kind, namespace, name, uid)))


def with_creation(new: Lab, kept: Lab | None, now: float) -> Lab:
    """The new lab with the times of its objects: those that the kept one had have the times that they had."""
    if kept is None:
        return replace(new, created=((LAB, int(now)),))
    known = dict(kept.created)
    came = known.get(LAB, int(now))
    had = {one: known.get(one, came) for one in keys(kept)}
    times = ((one, had.get(one, int(now))) for one in dict.fromkeys(keys(new)))
    return replace(new, created=((LAB, came), *((one, time) for one, time in times if time != came)))


def created(lab: Lab, *names: str) -> int:
    """When an object was created, in seconds since 1970; 0 if nobody knows. `names`: as `key` takes them."""
    known = dict(lab.created)
    return known.get(key(*names), known.get(LAB, 0))


def keys(lab: Lab) -> Iterator[str]:
    """The keys of all objects that have a time of their own."""
    yield from (key("Node", "", one.name) for one in lab.nodes)
    used = {one.namespace for one in lab.all_pods} | {one.namespace for one in lab.services}
    used |= {one.namespace for one in lab.controllers} | {one.namespace for one in lab.others}
    yield from (key("Namespace", "", name) for name in sorted(used - {""}))
    yield from (key("Pod", one.namespace, one.name, one.uid) for one in lab.all_pods)
    yield from (key("Service", one.namespace, one.name) for one in lab.services)
    yield from (key("EndpointSlice", one.namespace, one.name) for one in lab.slices)
    yield from (key(one.kind, one.namespace, one.name) for one in lab.controllers)
    yield from (key(one.kind, one.namespace, one.name) for one in lab.others)
    for one in (one for one in lab.controllers if one.kind == "Deployment"):
        yield from (key("ReplicaSet", one.namespace, each["metadata"]["name"]) for each in replica_sets(lab, one))
