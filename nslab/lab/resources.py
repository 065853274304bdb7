"""Finds objects of a lab by kubectl's names for them: service/svc-b, deploy, networkpolicies."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from nslab.api import schema
from nslab.api.words import quoted, shown
from nslab.errors import UsageError
from nslab.lab.types import Kept

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nslab.api.document import Document
    from nslab.lab.types import Lab

SLICE = "endpointslice.discovery.k8s.io"
MADE = ("node", "namespace", "endpoints", SLICE, "replicaset.apps")
"""The kinds of which nslab makes objects itself: of the Lab document, or as Kubernetes' controllers do."""
SHORT = {
    "cj": "cronjob", "cm": "configmap", "crd": "customresourcedefinition", "deploy": "deployment", "ds": "daemonset",
    "ep": "endpoints", "ev": "event", "hpa": "horizontalpodautoscaler", "ing": "ingress", "limits": "limitrange",
    "netpol": "networkpolicy", "no": "node", "ns": "namespace", "pc": "priorityclass", "pdb": "poddisruptionbudget",
    "po": "pod", "pv": "persistentvolume", "pvc": "persistentvolumeclaim", "quota": "resourcequota",
    "rc": "replicationcontroller", "rs": "replicaset", "sa": "serviceaccount", "sc": "storageclass",
    "sts": "statefulset", "svc": "service",
}  # fmt: skip
"""kubectl's short names, of kinds in the singular."""
VERSION = re.compile(r"^v\d+[a-z0-9]*(\.|$)")
"""A version may stand before the group: deployments.v1.apps, pods.v1."""
Key: TypeAlias = tuple[str, str, str]
"""An object's resource name as in kubectl's output, its namespace and its name."""


def key_of(one: Document | Kept) -> Key:
    """The key of an object."""
    return resource_of(one), one.namespace, one.name


def resource_of(one: Document | Kept) -> str:
    """kubectl's resource name of an object's kind, such as networkpolicy.networking.k8s.io."""
    return resource_name(one.kind, one.api_version if isinstance(one, Kept) else str(one.value.get("apiVersion")))


def resource_name(kind: str, version: str) -> str:
    """kubectl's name of a kind: pod, deployment.apps. `version`: its apiVersion."""
    return f"{kind.lower()}.{version.rpartition('/')[0]}".removesuffix(".")


def plural(resource: str) -> str:
    """Kubernetes' plural of a resource name."""
    one, dot, group = resource.partition(".")
    if one == "endpoints":
        return resource
    many = f"{one[:-1]}ies" if one[-1:] == "y" else f"{one}es" if one[-1:] == "s" else f"{one}s"
    return f"{many}{dot}{group}"


def named(lab: Lab, words: Sequence[str], namespace: str) -> list[Key]:
    """The keys of the objects that a command line names. Raises UsageError with kubectl's messages."""
    there = [resource_of(one) for one in lab.others]
    if not any("/" in word for word in words):
        kind = meant(there, words[0]) if words else ""
        if len(words) < 2:
            raise UsageError("error: resource(s) were provided, but no name was specified")
        pairs = [(kind, name) for name in words[1:]]
    else:
        pairs = [(meant(there, kind), name) for kind, name in [*map(parts, words)]]
    wide = {resource_of(one) for one in lab.others if not one.namespace}
    return list(dict.fromkeys((kind, "" if kind in wide else namespace, name) for kind, name in pairs))


def parts(word: str) -> tuple[str, str]:
    """The kind and the name of KIND/NAME."""
    kind, slash, name = word.partition("/")
    if not (kind and slash and name) or "/" in name:
        why = "arguments in resource/name form must have a single resource and name"
        raise UsageError(f"error: {why}, and this is {shown(word)}")
    return kind, name


def meant(there: Iterable[str], word: str) -> str:
    """The resource name that a word of kubectl's means: singular, plural or short, with its group or without.

    `there`: the resource names of a lab's objects. Kubernetes' own kinds come before those of other groups.
    """
    known, given = _known(), tuple(there)
    name, _, group = word.lower().partition(".")
    name = SHORT.get(name, name)
    groups = {group, VERSION.sub("", group)}
    for resource in (*(one for one in given if one in known), *known, *given):
        kind, _, own = resource.partition(".")
        if name and name in (kind, plural(kind)) and (not group or own in groups):
            return resource
    raise UsageError(f"error: the server doesn't have a resource type {quoted(word)}")


@cache
def _known() -> tuple[str, ...]:
    """The resource names of Kubernetes' own kinds, those of the core group first."""
    names = dict.fromkeys(resource_name(kind, version) for version, kind in schema.kinds())
    return tuple(sorted(names, key=lambda name: "." in name))


def not_found(key: Key, where: str = "") -> str:
    """kubectl's message for an object that does not exist."""
    return f"Error from server (NotFound): {where}{plural(key[0])} {quoted(key[2])} not found"


def not_deletable(key: Key, where: str = "") -> str:
    """The message for an object that no file brought: it does not exist, or nslab makes it."""
    return not_found(key, where) + (" (what nslab makes itself cannot be deleted)" if key[0] in MADE else "")
