"""One object in detail with what belongs to it, in the words of `kubectl describe`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.cells import NONE, labels, selector
from nslab.api.pod_status import pod_status
from nslab.api.tables import columns
from nslab.api.words import printable
from nslab.controllers.rollout import QUARTER
from nslab.lab.history import revision_of
from nslab.lab.selection import owned, owners
from nslab.lab.views import FINISHED
from nslab.views.describe_policy import policy_lines
from nslab.views.describe_service import service_pairs
from nslab.views.events import lines_about
from nslab.views.table import table

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    Object = dict[str, Any]
    Pair = tuple[str, str | list[str]]


STATES = {
    "reason": "Reason",
    "message": "Message",
    "exitCode": "Exit Code",
    "startedAt": "Started",
    "finishedAt": "Finished",
}
"""The fields of a container's state, and what kubectl calls them."""


UNDATED = ("Service", "ReplicaSet", "ReplicationController", "DaemonSet")
"""The kinds of which kubectl says no time."""


def describe(one: Object, there: Sequence[Object], now: float) -> str:
    """The text about an object. `there`: every object of the lab, among which are its pods and endpoints."""
    parts = {
        "Pod": _pod,
        "Service": _service,
        "Node": _node,
        "NetworkPolicy": _policy,
        **dict.fromkeys(("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job"), _set),
    }
    pairs = [*_head(one), *parts.get(one["kind"], _other)(one, there, now)]
    if events := lines_about(one, there, now):
        pairs += [("Events", ""), ("", [f"  {line}" for line in events])]
    elif one["kind"] != "Event":
        pairs.append(("Events", NONE))
    return "\n".join(_lines(pairs))


def _lines(pairs: Iterable[Pair], indent: str = "") -> Iterator[str]:
    """Names with their values in one column; further values below the first."""
    every = [*pairs]
    width = max((len(name) for name, _ in every if name), default=0) + 1
    for name, value in every:
        first, *rest = ([value] if isinstance(value, str) else value) or [NONE]
        if not name:
            yield from (f"{indent}{line}" for line in (first, *rest))
            continue
        yield f"{indent}{name + ':':<{width}}  {first}".rstrip()
        yield from (f"{indent}{'':<{width}}  {line}" for line in rest)


def _words(found: dict[str, Any] | None, between: str = "=") -> list[str]:
    return [printable(f"{name}{between}{value}") for name, value in sorted((found or {}).items())] or [NONE]


def _head(one: Object) -> Iterator[Pair]:
    metadata = one["metadata"]
    yield "Name", printable(str(metadata.get("name", "")))
    if "namespace" in metadata:
        yield "Namespace", str(metadata["namespace"])
    if (created := metadata.get("creationTimestamp")) and one["kind"] not in UNDATED:
        yield "CreationTimestamp", str(created)
    yield "Labels", _words(metadata.get("labels"))
    yield "Annotations", _words(metadata.get("annotations"), ": ")


def _pod(one: Object, _there: Sequence[Object], _now: float) -> Iterator[Pair]:
    spec, status = one["spec"], one.get("status", {})
    yield "Node", spec.get("nodeName", NONE)
    yield "Status", pod_status(one)
    yield "IP", status.get("podIP", "")
    for owner in one["metadata"].get("ownerReferences", ()):
        if owner.get("controller"):
            yield "Controlled By", printable(f"{owner.get('kind')}/{owner.get('name')}")
    statuses = (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ()))
    every = {each["name"]: each for each in statuses}
    for title, field in (("Init Containers", "initContainers"), ("Containers", "containers")):
        if found := spec.get(field):
            yield title, ""
            yield "", [line for each in found for line in _container(each, every.get(each.get("name")))]
    yield "Conditions", ""
    yield "", [f"  {line}" for line in _conditions(status.get("conditions", ()))]
    yield "Volumes", [printable(f"{each['name']}: {_kind(each)}") for each in spec.get("volumes", ())] or NONE
    yield "Node-Selectors", _words(spec.get("nodeSelector"))


def _conditions(found: Sequence[Object]) -> list[str]:
    """A table of them, with the reasons of those that do not hold."""
    rows = [[str(each.get(field, "")) for field in ("type", "status", "reason", "message")] for each in found]
    return table(["Type", "Status", "Reason", "Message"], [[*map(printable, row)] for row in rows]).splitlines()


def _kind(volume: Object) -> str:
    return next((name for name in volume if name != "name"), "emptyDir")


def _container(one: Object, status: Object | None) -> Iterator[str]:
    yield f"  {one.get('name')}:"
    yield from _lines(_container_pairs(one, status), "    ")


def _container_pairs(one: Object, status: Object | None) -> Iterator[Pair]:
    yield "Image", printable(str(one.get("image", NONE)))
    ports = [f"{each.get('containerPort')}/{each.get('protocol', 'TCP')}" for each in one.get("ports", ())]
    yield ("Ports" if len(ports) > 1 else "Port"), ", ".join(ports) or NONE
    for title, field in (("Command", "command"), ("Args", "args")):
        if words := one.get(field):
            yield title, [printable(str(word)) for word in words]
    if status:
        for title, field in (("State", "state"), ("Last State", "lastState")):
            if found := status.get(field):
                name, more = next(iter(found.items()))
                yield title, name.capitalize()
                yield from ((f"  {STATES[key]}", printable(str(more[key]))) for key in STATES if key in more)
        yield "Ready", str(bool(status.get("ready")))
        yield "Restart Count", str(status.get("restartCount", 0))
    if limits := one.get("resources", {}).get("limits"):
        yield "Limits", _words(limits, ": ")
    for title, field in (("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")):
        if probe := one.get(field):
            yield title, _probe(probe)
    yield "Environment", [_variable(each) for each in one.get("env", ())] or NONE
    yield "Mounts", [_mount(each) for each in one.get("volumeMounts", ())] or NONE


def _variable(one: Object) -> str:
    source = one.get("valueFrom")
    value = f"<{', '.join(source)}>" if source else one.get("value", "")
    return printable(f"{one.get('name')}: {value}")


def _mount(one: Object) -> str:
    return printable(f"{one.get('mountPath')} from {one.get('name')} ({'ro' if one.get('readOnly') else 'rw'})")


def _probe(probe: Object) -> str:
    if http := probe.get("httpGet"):
        where = f"{http.get('host', '')}:{http.get('port')}{http.get('path', '/')}"
        what = f"http-get {http.get('scheme', 'HTTP').lower()}://{where}"
    elif tcp := probe.get("tcpSocket"):
        what = f"tcp-socket {tcp.get('host', '')}:{tcp.get('port')}"
    elif grpc := probe.get("grpc"):
        what = f"grpc <pod>:{grpc.get('port')} {grpc.get('service', '')}".rstrip()
    else:
        what = f"exec {probe.get('exec', {}).get('command', [])}".replace("'", "").replace(",", "")
    times = f"delay={probe.get('initialDelaySeconds', 0)}s timeout={probe.get('timeoutSeconds', 1)}s"
    counts = f"#success={probe.get('successThreshold', 1)} #failure={probe.get('failureThreshold', 3)}"
    return printable(f"{what} {times} period={probe.get('periodSeconds', 10)}s {counts}")


def _service(one: Object, there: Sequence[Object], _now: float) -> Iterator[Pair]:
    yield from service_pairs(one, there)


def _policy(one: Object, _there: Sequence[Object], _now: float) -> Iterator[Pair]:
    yield "Spec", ""
    yield "", [*policy_lines(one["spec"])]


def _set(one: Object, there: Sequence[Object], now: float) -> Iterator[Pair]:
    spec, template = one["spec"], one["spec"].get("template", {})
    found = spec.get("selector")
    yield "Selector", labels(found) if one["kind"] == "ReplicationController" else selector(found)
    if one["kind"] == "Deployment":
        yield from _strategy(one)
    for column in columns(one["kind"]):
        if column.name not in ("NAME", "AGE", "NODE SELECTOR") and one["kind"] != "Deployment":
            yield column.name.capitalize(), column.cell(one, now)
    if one["kind"] == "Job":
        yield from _job(one)
    if conditions := one.get("status", {}).get("conditions"):
        yield "Conditions", ""
        yield "", [f"  {line}" for line in _conditions(conditions)]
    yield "Pod Template", ""
    inside: list[Pair] = [("Labels", _words(template.get("metadata", {}).get("labels")))]
    containers = [line for each in template.get("spec", {}).get("containers", ()) for line in _container(each, None)]
    yield "", [*_lines(inside, "  "), "  Containers:", *(f"  {line}" for line in containers)]
    if one["kind"] == "Deployment":
        *old, new = [_created(each) for each in _by_revision(one, there)] or [NONE]
        yield "OldReplicaSets", ", ".join(old) or NONE
        yield "NewReplicaSet", new
    yield "Pods", [printable(f"{each['metadata']['name']} ({pod_status(each)})") for each in owned(one, there)] or NONE


def _strategy(one: Object) -> Iterator[Pair]:
    spec, status = one["spec"], one.get("status", {})
    fields = ("updatedReplicas", "replicas", "availableReplicas", "unavailableReplicas")
    words = zip(fields, ("updated", "total", "available", "unavailable"), strict=True)
    counts = [f"{spec.get('replicas', 1)} desired", *(f"{status.get(field, 0)} {word}" for field, word in words)]
    strategy = spec.get("strategy") or {}
    kind, rolling = strategy.get("type") or "RollingUpdate", strategy.get("rollingUpdate") or {}
    yield "Replicas", " | ".join(counts)
    yield "StrategyType", printable(str(kind))
    yield "MinReadySeconds", str(spec.get("minReadySeconds", 0))
    if kind == "RollingUpdate":
        most = (f"{rolling.get(field, QUARTER)} max {word}" for field, word in SURGES)
        yield "RollingUpdateStrategy", printable(", ".join(most))


SURGES = (("maxUnavailable", "unavailable"), ("maxSurge", "surge"))


def _by_revision(deployment: Object, there: Sequence[Object]) -> list[Object]:
    """The ReplicaSets of a Deployment, the newest last."""
    namespace, name = deployment["metadata"].get("namespace"), deployment["metadata"]["name"]
    sets = [one for one in there if one["kind"] == "ReplicaSet" and one["metadata"].get("namespace") == namespace]
    mine = [one for one in sets if ("Deployment", name) in owners(one)]
    return sorted(mine, key=revision_of)


def _created(one: Object) -> str:
    counts = f"{one.get('status', {}).get('replicas', 0)}/{one['spec'].get('replicas', 0)} replicas created"
    return f"{one['metadata']['name']} ({counts})"


def _job(one: Object) -> Iterator[Pair]:
    status, limit = one.get("status", {}), one["spec"].get("backoffLimit")
    if limit is not None:
        yield "Backoff Limit", str(limit)
    states = ("active", "succeeded", "failed")
    yield "Pods Statuses", " / ".join(f"{status.get(state) or 0} {state.capitalize()}" for state in states)


def _node(one: Object, there: Sequence[Object], _now: float) -> Iterator[Pair]:
    status, name = one["status"], one["metadata"]["name"]
    yield "Conditions", [f"{each['type']}={each['status']}" for each in status["conditions"]]
    yield "Addresses", [f"{each['type']}: {each['address']}" for each in status["addresses"]]
    yield "System Info", _words(status["nodeInfo"], ": ")
    yield "PodCIDR", one["spec"].get("podCIDR", NONE)
    placed = (each for each in there if each["kind"] == "Pod" and each["spec"].get("nodeName") == name)
    pods = [each for each in placed if each["status"].get("phase") not in FINISHED]
    names = [f"{each['metadata'].get('namespace')}/{each['metadata']['name']} ({pod_status(each)})" for each in pods]
    yield "Non-terminated Pods", [f"({len(pods)} in total)", *map(printable, names)]


def _other(one: Object, _there: Sequence[Object], now: float) -> Iterator[Pair]:
    for column in columns(one["kind"], wide=True):
        if column.name not in ("NAME", "AGE"):
            yield column.name.capitalize(), printable(column.cell(one, now))
    for field in ("spec", "data"):
        for name, value in (one.get(field) or {}).items():
            # What a Secret holds is not shown, as kubectl does not.
            text = f"{len(str(value))} bytes" if one["kind"] == "Secret" else str(value)
            yield printable(name), printable(text)
