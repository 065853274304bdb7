"""The API objects of a running lab, complete: with their status, and with the objects that controllers made."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nslab.api.duration import seconds_of
from nslab.app import ps
from nslab.lab.addons import with_api_service
from nslab.lab.selection import matching, matching_fields, selected
from nslab.linux import owned
from nslab.linux.controller_events import read_controller_events
from nslab.linux.processes.events import read_events
from nslab.linux.stored_lab import stored_lab
from nslab.objects.names import host
from nslab.objects.process import NodeAgent
from nslab.views.events import controller_event, event
from nslab.views.live import Live, objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def get(
    name: str, words: Sequence[str] = (), namespace: str = "", selector: str = "", fields: str = ""
) -> list[dict[str, Any]]:
    """Return the objects that `words` select (see nslab.lab.selection); all of the lab's without words.

    `namespace`: only there; "": anywhere. `selector`: only with these labels; `fields`: with these fields.
    """
    live = live_objects(name, events=bool(words))
    chosen = selected(live, words, namespace) if words else live
    return matching_fields(matching(chosen, selector), fields)


def live_objects(name: str, *, events: bool = False) -> list[dict[str, Any]]:
    """Return every object of a running lab. `events`: with those of kubelets, controllers and the scheduler."""
    lab, processes = stored_lab(name), owned.processes(name)
    pods, now = ps.live_pods(lab, processes), time.time()
    nodes = frozenset(host(record.ns) for record in processes if record.role == NodeAgent.role)
    created = now - max(map(ps.age, processes), default=0.0)
    found = objects(with_api_service(lab), Live(pods, nodes, created))
    if not events:
        return found
    kubelets = happened(name, nodes & {node.name for node in lab.nodes})
    controllers = map(controller_event, read_controller_events(name))
    return [*found, *kubelets, *map(_unscheduled, _waiting(found)), *controllers]


def _waiting(found: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The pods that wait for a node."""
    for one in found:
        if one["kind"] == "Pod" and not one["spec"].get("nodeName"):
            yield one


def _unscheduled(pod: dict[str, Any]) -> dict[str, Any]:
    """The scheduler's Event about a pod that waits for a node."""
    metadata, (why,) = pod["metadata"], pod["status"]["conditions"]
    at = seconds_of(metadata["creationTimestamp"])
    about = {"namespace": metadata["namespace"], "pod": metadata["name"], "uid": metadata["uid"], "path": ""}
    record = {"reason": "FailedScheduling", "message": why["message"], "first": at, "last": at, "count": 1}
    return event("", about | record)


def happened(name: str, nodes: Iterable[str]) -> list[dict[str, Any]]:
    """Return the Events that these nodes' kubelets keep."""
    return [event(node, record) for node, record in read_events(name, sorted(nodes))]
