"""Objects as `kubectl get` shows them: for each kind its columns, and what of an object stands in them.

The columns are those of Kubernetes' own printers; of a kind that has none, the name and the age.
"""

from __future__ import annotations

from typing import NamedTuple

from nslab.api.cells import (
    NONE,
    Cell,
    Object,
    at,
    cluster_ip,
    endpoints,
    external,
    labels,
    number,
    ports,
    seen,
    selector,
    several,
    slice_endpoints,
    slice_ports,
)
from nslab.api.duration import duration, seconds_of, since
from nslab.api.pod_status import counted_containers, pod_status, ready_containers, restarts, restarts_text


class Column(NamedTuple):
    """A column. `wide`: it is shown with -o wide alone."""

    name: str
    cell: Cell
    wide: bool = False


def columns(kind: str, *, wide: bool = False) -> tuple[Column, ...]:
    """The columns of a kind."""
    return tuple(one for one in TABLES.get(kind, PLAIN) if wide or not one.wide)


def row(one: Object, now: float, *, wide: bool = False) -> dict[str, str]:
    """An object's cells by the names of their columns. `now`: seconds since the epoch."""
    return {column.name: column.cell(one, now) for column in columns(one["kind"], wide=wide)}


def _name(one: Object, _: float) -> str:
    return str(one["metadata"].get("name", ""))


def _age(one: Object, now: float) -> str:
    return since(one["metadata"].get("creationTimestamp"), now)


def _of_template(field: str) -> Cell:
    def cell(one: Object, _: float) -> str:
        found = one["spec"].get("template", {}).get("spec", {}).get("containers", ())
        return ",".join(str(container.get(field, "")) for container in found) or NONE

    return cell


def _selector(one: Object, _: float) -> str:
    found = one["spec"].get("selector") or {}
    return labels(found) if one["kind"] == "ReplicationController" else selector(found)


def _ready_of(one: Object, _: float) -> str:
    return f"{one.get('status', {}).get('readyReplicas', 0)}/{one['spec'].get('replicas', 1)}"


# Pods


def _pod_ready(one: Object, _: float) -> str:
    return f"{ready_containers(one)}/{counted_containers(one)}"


def _restarts(one: Object, now: float) -> str:
    count, last = restarts(one)
    return restarts_text(count, now - last if last else None)


# Others


def _job_status(one: Object, _: float) -> str:
    for condition in one.get("status", {}).get("conditions", ()):
        if condition.get("status") == "True" and condition.get("type") in ("Complete", "Failed", "Suspended"):
            return str(condition["type"])
    return "Running"


def _completions(one: Object, _: float) -> str:
    wanted = one["spec"].get("completions", 1)
    return f"{one.get('status', {}).get('succeeded', 0)}/{wanted}"


def _job_duration(one: Object, now: float) -> str:
    status = one.get("status", {})
    if not status.get("startTime"):
        return ""
    end = seconds_of(status["completionTime"]) if status.get("completionTime") else now
    return duration(end - seconds_of(status["startTime"]))


def _last_schedule(one: Object, now: float) -> str:
    last = one.get("status", {}).get("lastScheduleTime")
    return since(last, now) if last else NONE


def _node_status(one: Object, _: float) -> str:
    conditions = one.get("status", {}).get("conditions", ())
    ready = any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)
    return "Ready" if ready else "NotReady"


def _node_address(kind: str) -> Cell:
    def cell(one: Object, _: float) -> str:
        addresses = one.get("status", {}).get("addresses", ())
        return next((each["address"] for each in addresses if each.get("type") == kind), NONE)

    return cell


def _data(one: Object, _: float) -> str:
    return str(len(one.get("data") or {}) + len(one.get("binaryData") or {}) + len(one.get("stringData") or {}))


def _about(one: Object, _: float) -> str:
    about = one.get("involvedObject", {})
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"


def _source(one: Object, _: float) -> str:
    source = one.get("source", {})
    return ", ".join(str(source[field]) for field in ("component", "host") if source.get(field)) or NONE


def _hosts(one: Object, _: float) -> str:
    return several([rule["host"] for rule in one["spec"].get("rules") or () if rule.get("host")] or ["*"])


def _ingress_ports(one: Object, _: float) -> str:
    return "80, 443" if one["spec"].get("tls") else "80"


def _policy_selector(one: Object, _: float) -> str:
    return selector(one["spec"].get("podSelector"))


NAME, AGE = Column("NAME", _name), Column("AGE", _age)
PLAIN = (NAME, AGE)
CONTAINERS = (
    Column("CONTAINERS", _of_template("name"), wide=True),
    Column("IMAGES", _of_template("image"), wide=True),
)
SELECTOR = Column("SELECTOR", _selector, wide=True)
SET = (
    NAME,
    Column("DESIRED", number("spec", "replicas")),
    Column("CURRENT", number("status", "replicas")),
    Column("READY", number("status", "readyReplicas")),
    AGE,
    *CONTAINERS,
    SELECTOR,
)
TABLES: dict[str, tuple[Column, ...]] = {
    "Pod": (
        NAME,
        Column("READY", _pod_ready),
        Column("STATUS", lambda one, _: pod_status(one)),
        Column("RESTARTS", _restarts),
        AGE,
        Column("IP", at("status", "podIP"), wide=True),
        Column("NODE", at("spec", "nodeName"), wide=True),
        Column("NOMINATED NODE", at("status", "nominatedNodeName"), wide=True),
        Column("READINESS GATES", lambda _one, _: NONE, wide=True),
    ),
    "Service": (
        NAME,
        Column("TYPE", lambda one, _: str(one["spec"].get("type", "ClusterIP"))),
        Column("CLUSTER-IP", cluster_ip),
        Column("EXTERNAL-IP", external),
        Column("PORT(S)", ports),
        AGE,
        Column("SELECTOR", lambda one, _: labels(one["spec"].get("selector")), wide=True),
    ),
    "Endpoints": (NAME, Column("ENDPOINTS", endpoints), AGE),
    "EndpointSlice": (
        NAME,
        Column("ADDRESSTYPE", at("addressType")),
        Column("PORTS", slice_ports),
        Column("ENDPOINTS", slice_endpoints),
        AGE,
    ),
    "Deployment": (
        NAME,
        Column("READY", _ready_of),
        Column("UP-TO-DATE", number("status", "updatedReplicas")),
        Column("AVAILABLE", number("status", "availableReplicas")),
        AGE,
        *CONTAINERS,
        SELECTOR,
    ),
    "ReplicaSet": SET,
    "ReplicationController": SET,
    "StatefulSet": (NAME, Column("READY", _ready_of), AGE, *CONTAINERS),
    "DaemonSet": (
        NAME,
        Column("DESIRED", number("status", "desiredNumberScheduled")),
        Column("CURRENT", number("status", "currentNumberScheduled")),
        Column("READY", number("status", "numberReady")),
        Column("UP-TO-DATE", number("status", "updatedNumberScheduled")),
        Column("AVAILABLE", number("status", "numberAvailable")),
        Column("NODE SELECTOR", lambda one, _: labels(one["spec"]["template"].get("spec", {}).get("nodeSelector"))),
        AGE,
        *CONTAINERS,
        SELECTOR,
    ),
    "Job": (
        NAME,
        Column("STATUS", _job_status),
        Column("COMPLETIONS", _completions),
        Column("DURATION", _job_duration),
        AGE,
        *CONTAINERS,
        SELECTOR,
    ),
    "CronJob": (
        NAME,
        Column("SCHEDULE", at("spec", "schedule")),
        Column("TIMEZONE", at("spec", "timeZone")),
        Column("SUSPEND", lambda one, _: str(one["spec"].get("suspend", False))),
        Column("ACTIVE", lambda one, _: str(len(one.get("status", {}).get("active", ())))),
        Column("LAST SCHEDULE", _last_schedule),
        AGE,
    ),
    "Node": (
        NAME,
        Column("STATUS", _node_status),
        Column("ROLES", lambda _one, _: NONE),
        AGE,
        Column("VERSION", at("status", "nodeInfo", "kubeletVersion")),
        Column("INTERNAL-IP", _node_address("InternalIP"), wide=True),
        Column("EXTERNAL-IP", _node_address("ExternalIP"), wide=True),
        Column("OS-IMAGE", at("status", "nodeInfo", "osImage"), wide=True),
        Column("KERNEL-VERSION", at("status", "nodeInfo", "kernelVersion"), wide=True),
        Column("CONTAINER-RUNTIME", at("status", "nodeInfo", "containerRuntimeVersion"), wide=True),
    ),
    "Event": (
        Column("LAST SEEN", seen("lastTimestamp")),
        Column("TYPE", at("type")),
        Column("REASON", at("reason")),
        Column("OBJECT", _about),
        Column("SUBOBJECT", lambda one, _: str(one.get("involvedObject", {}).get("fieldPath", "")), wide=True),
        Column("SOURCE", _source, wide=True),
        Column("MESSAGE", lambda one, _: " ".join(str(one.get("message", "")).splitlines())),
        Column("FIRST SEEN", seen("firstTimestamp"), wide=True),
        Column("COUNT", at("count"), wide=True),
        Column("NAME", _name, wide=True),
    ),
    "Namespace": (NAME, Column("STATUS", lambda one, _: one.get("status", {}).get("phase", "Active")), AGE),
    "ConfigMap": (NAME, Column("DATA", _data), AGE),
    "Secret": (NAME, Column("TYPE", lambda one, _: one.get("type", "Opaque")), Column("DATA", _data), AGE),
    "Ingress": (
        NAME,
        Column("CLASS", at("spec", "ingressClassName")),
        Column("HOSTS", _hosts),
        Column("ADDRESS", lambda _one, _: ""),
        Column("PORTS", _ingress_ports),
        AGE,
    ),
    "NetworkPolicy": (NAME, Column("POD-SELECTOR", _policy_selector), AGE),
}
