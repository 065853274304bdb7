"""Changes to a running lab, as kubectl makes them: apply, delete, scale. Pure: from a lab comes another, and lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from nslab.dataclass import replace
from nslab.errors import UsageError
from nslab.lab.allocate import give_out
from nslab.lab.api import Fault, complaint, invalid, labels
from nslab.lab.defaults import complete
from nslab.lab.documents import placed, text_of
from nslab.lab.draft import KEPT
from nslab.lab.finish import drafted, drafted_service, finished
from nslab.lab.load import in_order, refuse
from nslab.lab.status import merge_status
from nslab.lab.stream import read_stream, reader_of
from nslab.lab.validate import complaints
from nslab.lab.warn import warnings
from nslab.lab.words import Complaint, quoted, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.errors import Problem
    from nslab.lab.draft import LabDraft
    from nslab.lab.types import Lab

Changed: TypeAlias = tuple["Lab", tuple[str, ...]]
"""The lab after a change, and what kubectl would print."""


class Kind(NamedTuple):
    """A kind of object: what kubectl calls one, many, and what it may be called on a command line."""

    one: str
    many: str
    words: tuple[str, ...]


KINDS = {
    "services": Kind("service", "services", ("service", "services", "svc")),
    "slices": Kind(
        "endpointslice.discovery.k8s.io",
        "endpointslices.discovery.k8s.io",
        ("endpointslice", "endpointslices", "endpointslices.discovery.k8s.io", "endpointslice.discovery.k8s.io"),
    ),
    "deployments": Kind(
        "deployment.apps",
        "deployments.apps",
        ("deployment", "deployments", "deploy", "deployment.apps", "deployments.apps"),
    ),
    "pods": Kind("pod", "pods", ("pod", "pods", "po")),
}
"""Where a lab keeps its objects."""
Key: TypeAlias = tuple[str, str, str]
"""Where the lab keeps an object, its namespace and its name."""


def applied(lab: Lab, source: Path | str) -> Changed:
    """`kubectl apply -f`: objects are made, or take the place of those of their name; what they were given stays.

    `source` is the path of a file, or the text itself.
    """
    return applied_with_warnings(lab, source)[:2]


def applied_with_warnings(lab: Lab, source: Path | str) -> tuple[Lab, tuple[str, ...], tuple[Problem, ...]]:
    """The same, and what in the file is probably not meant: a selector without pods, say."""
    text, file = (text_of(source), str(source)) if isinstance(source, Path) else (source, "standard input")
    reader = reader_of(text, file)
    new = read_stream(text, reader, lab_first=False)
    keys = _keys(new)
    found = list(_refused(lab, new))
    draft = drafted(lab)
    _adopt(lab, new)
    for what in KINDS:
        setattr(draft, what, _replaced(getattr(draft, what), getattr(new, what)))
    complete(draft)
    refuse(text, reader, [*found, *complaints(draft)])
    # Of objects that were there before it was said when they came.
    doubts = placed(text, file, [one for one in warnings(draft) if one.path[0] != KEPT])
    made = merge_status(give_out(finished(draft), lab.services), lab)
    return made, tuple(_line(key, _find(lab, key), _find(made, key)) for key in keys), in_order(doubts)


def deleted(lab: Lab, what: Path | Sequence[str], namespace: str = "default") -> Changed:
    """`kubectl delete`: the objects of a file, or such as (service/svc-b,) or (service, svc-b, svc-c)."""
    if isinstance(what, Path):
        reader = reader_of(text := text_of(what), str(what))
        keys = _keys(read_stream(text, reader, lab_first=False))
        refuse(text, reader, ())
    else:
        keys = _named(what, namespace)
    where = f'error when deleting "{what}": ' if isinstance(what, Path) else ""
    if missing := [_not_found(key, where) for key in keys if _find(lab, key) is None]:
        raise UsageError("\n".join(missing))
    owners = {f"{space}/{name}" for kind, space, name in keys if kind == "deployments"}
    for pod in lab.pods:
        if pod.owner and pod.owner not in owners and ("pods", pod.namespace, pod.name) in keys:
            text = f"pod {shown(pod.name)} is a replica of deployment {shown(pod.owner)}, which would make it anew"
            raise UsageError(f"{text}; scale or delete the deployment")
    gone = set(keys)

    def left(kind: str) -> tuple[Any, ...]:
        return tuple(one for one in getattr(lab, kind) if (kind, one.namespace, one.name) not in gone)

    pods = tuple(pod for pod in left("pods") if pod.owner not in owners)
    made = replace(lab, services=left("services"), slices=left("slices"), deployments=left("deployments"), pods=pods)
    return made, tuple(f"{KINDS[kind].one} {quoted(name)} deleted" for kind, _, name in keys)


def scaled(lab: Lab, what: str, replicas: int, namespace: str = "default") -> Changed:
    """`kubectl scale deployment/web --replicas N`: the last replicas go first, and new ones come behind them."""
    (key,) = _named([what], namespace)
    if key[0] != "deployments":
        raise UsageError("Error from server (NotFound): the server could not find the requested resource")
    if replicas < 0:
        raise UsageError("error: The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
    if _find(lab, key) is None:
        raise UsageError(_not_found(key))
    draft, name = drafted(lab), key[2]
    for one in draft.deployments:
        if (one.namespace, one.name) == key[1:]:
            one.replicas = replicas
    complete(draft)
    refuse("", reader_of("", f"deployment/{name}"), complaints(draft))
    return merge_status(finished(draft), lab), (f"deployment.apps/{name} scaled",)


def _adopt(lab: Lab, new: LabDraft) -> None:
    """What the objects that go leave to those that take their place: a pod its node, a Service that it is headless."""
    services, pods = _by_name(lab.services), _by_name(lab.pods)
    for service in new.services:
        had = services.get((service.namespace, service.name))
        if had and drafted_service(had).headless and not service.asked and service.type == "ClusterIP":
            service.cluster_ip = "None"
    for pod in new.pods:
        if not pod.node and (was := pods.get((pod.namespace, pod.name))):
            pod.node = was.node


def _refused(lab: Lab, new: LabDraft) -> Iterator[Complaint]:
    """What cannot change while an object lives."""
    services, deployments = _by_name(lab.services), _by_name(lab.deployments)
    for service in new.services:
        old = services.get((service.namespace, service.name))
        had = drafted_service(old) if old else None
        if had and service.asked not in ("", had.asked) and "ExternalName" not in (had.type, service.type):
            text = invalid([service.asked], "may not change once set")
            yield complaint("Service", service, Fault(("spec", "clusterIPs", 0), text, ("spec", "clusterIP")))
    for deployment in new.deployments:
        was = deployments.get((deployment.namespace, deployment.name))
        if was and dict(was.selector) != deployment.selector:
            selector = {"matchLabels": labels(deployment.selector)}
            fault = Fault(("spec", "selector"), invalid(selector, "field is immutable"))
            yield complaint("Deployment", deployment, fault)
    if new.document is not None:
        text = "a Lab document cannot be applied; `nslab up` takes the whole file"
        yield Complaint((new.document, "kind"), text)


def _replaced(had: Iterable[Any], new: Iterable[Any]) -> list[Any]:
    """The objects, those of the same name in the places of the old ones."""
    return list((_by_name(had) | _by_name(new)).values())


def _by_name(objects: Iterable[Any]) -> dict[tuple[str, str], Any]:
    return {(one.namespace, one.name): one for one in objects}


def _keys(draft: LabDraft) -> list[Key]:
    """The objects of a stream, in its order, each once."""
    found = [(one.document, (kind, one.namespace, one.name)) for kind in KINDS for one in getattr(draft, kind)]
    return list(dict.fromkeys(key for _, key in sorted(found)))


def _named(words: Sequence[str], namespace: str) -> list[Key]:
    """The objects that a command line names."""
    if not any("/" in word for word in words):
        kind = _kind(words[0]) if words else ""
        if len(words) < 2:
            raise UsageError("error: resource(s) were provided, but no name was specified")
        return [(kind, namespace, name) for name in words[1:]]
    pairs = [word.partition("/") for word in words]
    for word, (kind, slash, name) in zip(words, pairs, strict=True):
        if not (kind and slash and name) or "/" in name:
            why = "arguments in resource/name form must have a single resource and name"
            raise UsageError(f"error: {why}, and this is {shown(word)}")
    return list(dict.fromkeys((_kind(kind), namespace, name) for kind, _, name in pairs))


def _kind(word: str) -> str:
    for kind, names in KINDS.items():
        if word.lower() in names.words:
            return kind
    raise UsageError(f"error: the server doesn't have a resource type {quoted(word)}")


def _find(lab: Lab, key: Key) -> Any:
    kind, namespace, name = key
    return next((one for one in getattr(lab, kind) if one.name == name and one.namespace == namespace), None)


def _not_found(key: Key, where: str = "") -> str:
    return f"Error from server (NotFound): {where}{KINDS[key[0]].many} {quoted(key[2])} not found"


def _line(key: Key, before: object, after: object) -> str:
    """What kubectl prints of one object."""
    did = "created" if before is None else "unchanged" if before == after else "configured"
    return f"{KINDS[key[0]].one}/{key[2]} {did}"
