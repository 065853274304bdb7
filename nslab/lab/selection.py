"""Which objects a command line of kubectl's means: pods, svc/web, deploy web api, all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.document import CLUSTER_WIDE
from nslab.api.pod_status import has_condition
from nslab.api.words import shown
from nslab.errors import UsageError
from nslab.lab.resources import meant, not_found, parts, resource_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Object = dict[str, Any]

ALL = (
    "pod", "replicationcontroller", "service", "daemonset.apps", "deployment.apps", "replicaset.apps",
    "statefulset.apps", "job.batch", "cronjob.batch",
)  # fmt: skip
"""What `all` stands for, in kubectl's order."""


def resource(one: Object) -> str:
    """What kubectl calls an object's kind: pod, deployment.apps."""
    return resource_name(one["kind"], str(one.get("apiVersion", "")))


def selected(there: Sequence[Object], words: Sequence[str], namespace: str = "") -> list[Object]:
    """The objects that a command line means, kind by kind, each in the order of namespaces and names.

    `namespace`: where they are; "": anywhere. UsageError, in kubectl's words, for what there is not.
    """
    if any("/" in word for word in words):
        return [_one(there, *parts(word), namespace) for word in words]
    if len(words) > 1:
        return [_one(there, words[0], name, namespace) for name in words[1:]]
    kinds = [kind for word in (words[0].split(",") if words else []) for kind in _kinds(there, word)]
    found = {kind: sorted((one for one in there if resource(one) == kind), key=_name) for kind in kinds}
    return [one for some in found.values() for one in some if _is_in(one, namespace)]


def matching(found: Iterable[Object], selector: str) -> list[Object]:
    """Those whose labels an equality selector matches: a=b, a!=b, a, !a."""
    terms = [term.strip() for term in selector.split(",") if term.strip()]
    return [one for one in found if all(_matches(one["metadata"].get("labels") or {}, term) for term in terms)]


_EVERY = ("metadata.name", "metadata.namespace")
_FIELDS = {
    "pod": (
        "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
        "status.phase", "status.podIP",
    ),
    "service": ("spec.clusterIP", "spec.type"),
    "node": ("spec.unschedulable",),
    "namespace": ("status.phase",),
    "secret": ("type",),
    "replicaset.apps": ("status.replicas",),
    "job.batch": ("status.successful",),
    "event": (
        *(f"involvedObject.{field}" for field in ("kind", "namespace", "name", "uid", "apiVersion", "fieldPath")),
        "reason", "reportingComponent", "source", "type",
    ),
}  # fmt: skip
"""The fields of each kind that the API server selects by, besides name and namespace."""
_PATHS = {"source": "source.component"}
"""Where the value of a field stands whose name is no path to it."""


def matching_fields(found: Iterable[Object], selector: str) -> list[Object]:
    """Those whose fields a selector matches: status.phase=Running,spec.nodeName!=node1. UsageError as of kubectl."""
    terms = [_field_term(term.strip()) for term in selector.split(",") if term.strip()]
    return [one for one in found if all(_has_field(one, *term) for term in terms)]


def _field_term(term: str) -> tuple[str, bool, str]:
    """The field, whether it is to be equal, and the value."""
    for sign, equal in (("!=", False), ("==", True), ("=", True)):
        field, found, value = term.partition(sign)
        if found:
            return field.strip(), equal, value.strip()
    raise UsageError(f"error: invalid selector: '{term}'; can't understand '{term}'")


def _has_field(one: Object, field: str, equal: bool, value: str) -> bool:
    if field not in (*_EVERY, *_FIELDS.get(resource(one), ())):
        raise UsageError(f"Error from server (BadRequest): field label not supported: {shown(field)}")
    there: Any = one
    for step in _PATHS.get(field, field).split("."):
        there = there.get(step) if isinstance(there, dict) else None
    text = str(there).lower() if isinstance(there, bool) else "" if there is None else str(there)
    return (text == value) == equal


def owned(one: Object, there: Iterable[Object]) -> list[Object]:
    """The pods of a controller; of a Deployment, those of its ReplicaSets. `there`: every object of the lab."""
    every, namespace = [*there], one["metadata"].get("namespace")
    names = {(one["kind"], one["metadata"].get("name"))}
    names |= {(each["kind"], each["metadata"]["name"]) for each in every if names & owners(each)}
    pods = [each for each in every if each["kind"] == "Pod" and each["metadata"].get("namespace") == namespace]
    return [each for each in pods if names & owners(each)]


def owners(one: Object) -> set[tuple[Any, Any]]:
    """The kinds and the names of an object's owners."""
    return {(owner.get("kind"), owner.get("name")) for owner in one["metadata"].get("ownerReferences", ())}


def behind(one: Object, there: Iterable[Object]) -> list[Object]:
    """The pods that `kubectl logs` means by an object, the ready ones first: itself, a controller's or a Service's."""
    if one["kind"] == "Pod":
        return [one]
    if one["kind"] == "Service":
        wanted = (one["spec"].get("selector") or {}).items()
        pods = [each for each in there if each["kind"] == "Pod" and _is_in(each, one["metadata"].get("namespace", ""))]
        found = [pod for pod in pods if wanted and wanted <= (pod["metadata"].get("labels") or {}).items()]
    else:
        found = owned(one, there)
    return sorted(found, key=lambda pod: (not has_condition(pod, "Ready"), _name(pod)))


def _matches(labels: dict[str, str], term: str) -> bool:
    name, unequal, value = term.partition("!=")
    if unequal:
        return labels.get(name.strip()) != value.strip()
    name, equal, value = term.replace("==", "=").partition("=")
    if equal:
        return labels.get(name.strip()) == value.strip()
    return name[1:].strip() not in labels if name.startswith("!") else name in labels


def _name(one: Object) -> tuple[str, str]:
    return one["metadata"].get("namespace", ""), one["metadata"].get("name", "")


def _is_in(one: Object, namespace: str) -> bool:
    return not namespace or one["metadata"].get("namespace", "") in ("", namespace) or one["kind"] in CLUSTER_WIDE


def _one(there: Sequence[Object], word: str, name: str, namespace: str) -> Object:
    kinds = _kinds(there, word)
    for one in there:
        if one["metadata"].get("name") == name and resource(one) in kinds and _is_in(one, namespace or "default"):
            return one
    raise UsageError(not_found((kinds[0], namespace, name)))


def _kinds(there: Sequence[Object], word: str) -> tuple[str, ...]:
    """The resource names that a word means."""
    return ALL if word.lower() == "all" else (meant(dict.fromkeys(map(resource, there)), word),)
