"""Events as the API has them, and as `kubectl describe` lists those of an object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.duration import moment, since
from nslab.api.words import printable
from nslab.controllers.events import SOURCES
from nslab.views.table import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    Object = dict[str, Any]

WARNINGS = frozenset(("BackOff", "Failed", "FailedPostStartHook", "FailedPreStopHook", "FailedScheduling", "Unhealthy"))
"""The reasons of what goes wrong; all else is Normal."""
SCHEDULER = "default-scheduler"
VERSIONS = {"ReplicationController": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}
"""The apiVersion of the kinds that are not in apps/v1."""


def event(node: str, record: Mapping[str, Any]) -> Object:
    """The Event (core/v1) of a node's record, see nslab.components.kubelet.events."""
    namespace, pod, path = record["namespace"], record["pod"], record["path"]
    by = SCHEDULER if record["reason"] in ("Scheduled", "FailedScheduling") else "kubelet"
    about = {"kind": "Pod", "namespace": namespace, "name": pod, "uid": record["uid"], "apiVersion": "v1"}
    name = f"{pod}.{int(record['first'] * 1e9):x}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": moment(record["first"])},
        "involvedObject": about | ({"fieldPath": path} if path else {}),
        "reason": record["reason"],
        "message": record["message"],
        "source": {"component": by} | ({"host": node} if by == "kubelet" else {}),
        "firstTimestamp": moment(record["first"]),
        "lastTimestamp": moment(record["last"]),
        "count": record["count"],
        "type": "Warning" if record["reason"] in WARNINGS else "Normal",
        "eventTime": None,
        "reportingComponent": by,
        "reportingInstance": node if by == "kubelet" else "",
    }


def controller_event(record: Mapping[str, Any]) -> Object:
    """The Event of what a controller has done, see nslab.linux.controller_events."""
    kind, name = record["kind"], record["name"]
    about = {"kind": kind, "namespace": record["namespace"], "name": name, "apiVersion": VERSIONS.get(kind, "apps/v1")}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{name}.{int(record['first'] * 1e9):x}",
            "namespace": record["namespace"],
            "creationTimestamp": moment(record["first"]),
        },
        "involvedObject": about,
        "reason": record["reason"],
        "message": record["message"],
        "source": {"component": SOURCES[kind]},
        "firstTimestamp": moment(record["first"]),
        "lastTimestamp": moment(record["last"]),
        "count": record["count"],
        "type": "Warning" if record["warning"] else "Normal",
        "eventTime": None,
        "reportingComponent": SOURCES[kind],
        "reportingInstance": "",
    }


def lines_about(one: Object, there: Iterable[Object], now: float) -> list[str]:
    """What happened to an object, the latest last; empty if nothing did."""
    mine = [each for each in there if each["kind"] == "Event" and _is_about(each, one)]
    rows = [[*_cells(each, now)] for each in sorted(mine, key=lambda each: str(each.get("lastTimestamp")))]
    heads = ["Type", "Reason", "Age", "From", "Message"]
    return table(heads, [["----", "------", "----", "----", "-------"], *rows]).splitlines() if rows else []


def _is_about(event: Object, one: Object) -> bool:
    about, metadata = event.get("involvedObject", {}), one["metadata"]
    named = [about.get(field) for field in ("kind", "namespace", "name")]
    uid = metadata.get("uid")
    return named == [one["kind"], metadata.get("namespace"), metadata.get("name")] and uid in (None, about.get("uid"))


def _cells(one: Object, now: float) -> Iterator[str]:
    yield from (str(one.get("type", "")), printable(str(one.get("reason", ""))))
    age, first, count = since(one.get("lastTimestamp"), now), since(one.get("firstTimestamp"), now), one.get("count")
    yield f"{age} (x{count} over {first})" if count and count > 1 else age
    yield printable(str(one.get("source", {}).get("component", "")))
    path, message = one["involvedObject"].get("fieldPath", ""), " ".join(str(one.get("message", "")).splitlines())
    yield printable(f"{path}: {message}" if path else message)
