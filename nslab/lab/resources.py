"""Objects of a lab by the words that kubectl has for them: service/svc-b, deploy, networkpolicies."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from nslab.api.words import quoted, shown
from nslab.errors import UsageError
from nslab.lab import dump
from nslab.lab.types import Kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.api.document import Document
    from nslab.lab.types import Lab

SLICE = "endpointslice.discovery.k8s.io"
KINDS = (
    "service", SLICE, "pod", "deployment.apps", "replicaset.apps", "replicationcontroller",
    "statefulset.apps", "daemonset.apps", "job.batch",
)  # fmt: skip
"""The kinds that a lab acts on, as kubectl calls one object."""
SHORT = {
    "svc": "service", "deploy": "deployment.apps", "po": "pod", "rs": "replicaset.apps", "rc": "replicationcontroller",
    "sts": "statefulset.apps", "ds": "daemonset.apps",
}  # fmt: skip
Key: TypeAlias = tuple[str, str, str]
"""What kubectl calls the kind of an object, its namespace and its name."""


def key_of(one: Document | Kept) -> Key:
    """Which object it is."""
    return resource_of(one), one.namespace, one.name


def resource_of(one: Document | Kept) -> str:
    """What kubectl calls an object's kind: networkpolicy.networking.k8s.io."""
    version = one.api_version if isinstance(one, Kept) else str(one.value.get("apiVersion"))
    group = version.rpartition("/")[0]
    return f"{one.kind.lower()}.{group}".removesuffix(".")


def plural(resource: str) -> str:
    """The plural that Kubernetes gives a kind."""
    one, dot, group = resource.partition(".")
    many = f"{one[:-1]}ies" if one[-1:] == "y" else f"{one}es" if one[-1:] == "s" else f"{one}s"
    return f"{many}{dot}{group}"


def named(lab: Lab, words: Sequence[str], namespace: str) -> list[Key]:
    """The objects that a command line names."""
    if not any("/" in word for word in words):
        kind = meant(lab, words[0]) if words else ""
        if len(words) < 2:
            raise UsageError("error: resource(s) were provided, but no name was specified")
        pairs = [(kind, name) for name in words[1:]]
    else:
        split = [word.partition("/") for word in words]
        for word, (kind, slash, name) in zip(words, split, strict=True):
            if not (kind and slash and name) or "/" in name:
                why = "arguments in resource/name form must have a single resource and name"
                raise UsageError(f"error: {why}, and this is {shown(word)}")
        pairs = [(meant(lab, kind), name) for kind, _, name in split]
    wide = {resource_of(one) for one in lab.others if not one.namespace}
    return list(dict.fromkeys((kind, "" if kind in wide else namespace, name) for kind, name in pairs))


def meant(lab: Lab, word: str) -> str:
    """The kind that a command line names by one, many or a short word, with its group or without."""
    for resource in (*KINDS, *map(resource_of, lab.others)):
        full = {resource, plural(resource), next((short for short, of in SHORT.items() if of == resource), "")}
        if word and word.lower() in full | {each.partition(".")[0] for each in full}:
            return resource
    raise UsageError(f"error: the server doesn't have a resource type {quoted(word)}")


def not_found(key: Key, where: str = "") -> str:
    """What kubectl says of an object that is not there."""
    return f"Error from server (NotFound): {where}{plural(key[0])} {quoted(key[2])} not found"


def selected(lab: Lab, words: Sequence[str], namespace: str = "") -> list[Document]:
    """The objects that a command line names: (service,), (service, svc-b), (service/svc-b, pod/a); all, if nothing.

    `namespace`: where they are looked for; "": anywhere, and named ones in `default`. UsageError, as kubectl says it.
    """
    there = dump.documents(lab).objects()
    if len(words) > 1 or "/" in "".join(words):
        known = {key_of(one): one for one in there}
        keys = named(lab, words, namespace or "default")
        for key in keys:
            if key not in known:
                raise UsageError(not_found(key))
        return [known[key] for key in keys]
    kind = meant(lab, words[0]) if words else ""
    of_kind = [one for one in there if not kind or resource_of(one) == kind]
    return [one for one in of_kind if not namespace or one.namespace in ("", namespace)]
