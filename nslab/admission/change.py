"""kubectl's changes to a running lab: apply, delete, scale. Pure: a lab in, a new lab and kubectl's output out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from nslab.admission.load import completed, in_order, refuse
from nslab.admission.notes import notes
from nslab.admission.validate import errors
from nslab.admission.warn import warnings
from nslab.api import service_document
from nslab.api.document import EXISTING, Document
from nslab.api.documents import positioned, sources_of
from nslab.api.sentences import invalid, of_object
from nslab.api.values import Reader, Source
from nslab.api.words import quoted
from nslab.controllers.controlled import stepped, unfinished
from nslab.dataclass import replace
from nslab.errors import FieldError, UsageError
from nslab.lab import cron_jobs, dump, history, jobs, views
from nslab.lab.allocate import allocate
from nslab.lab.defaults import complete
from nslab.lab.mirroring import mirrored_of
from nslab.lab.resources import SLICE, Key, key_of, named, not_deletable, not_found
from nslab.lab.status import merge_status
from nslab.lab.stream import read_stream
from nslab.lab.termination import with_leaving, without_terminating

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nslab.api.pod_types import Pod
    from nslab.api.service_types import EndpointSlice
    from nslab.lab.stream import Documents
    from nslab.lab.types import Controller, Lab

Changed: TypeAlias = tuple["Lab", tuple[str, ...]]
"""The lab after a change, and kubectl's output, by lines."""
SCALABLE = ("deployment.apps", "replicaset.apps", "replicationcontroller", "statefulset.apps")


def applied(lab: Lab, source: Path | str) -> Changed:
    """`kubectl apply -f`: creates objects, or replaces those of the same name; allocated values stay.

    `source` is the path of a file, or the text itself.
    """
    return applied_with_warnings(lab, source)[:2]


def applied_with_warnings(lab: Lab, source: Path | str) -> tuple[Lab, tuple[str, ...], tuple[FieldError, ...]]:
    """The same with warnings for probable mistakes in the file, such as a selector that matches no pods."""
    sources = sources_of(source) if isinstance(source, Path) else (Source("standard input", source),)
    reader = Reader(*sources)
    new = read_stream(reader, lab=False, unnamed="error: from {}: cannot use generate name with apply".format)
    keys = _keys(new)
    had = dump.documents(lab)
    found = list(_refused(had, new))
    _adopt(had, new)
    for what in ("services", "slices", "controllers", "pods", "others"):
        setattr(had, what, [*(_by_name(getattr(had, what)) | _by_name(getattr(new, what))).values()])
    complete(had)
    refuse(reader, [*found, *errors(had)])
    # nslab printed the warnings of existing objects when they were created.
    pods = [one for one in had.pods if one.path[0] != EXISTING]
    wrong = [one for one in warnings(had) if one.path[0] != EXISTING]
    doubts = positioned(sources, [*wrong, *notes(new.objects(), pods)])
    made = merge_status(allocate(views.lab(had), lab.services), lab)
    before, after = (_by_name(dump.documents(one).objects()) for one in (lab, made))
    return made, tuple(_line(key, before.get(key), after.get(key)) for key in keys), in_order(doubts)


def deleted(lab: Lab, what: Path | Sequence[str], namespace: str = "default") -> Changed:
    """`kubectl delete`: the objects of a file, or words such as (service/svc-b,) or (service, svc-b, svc-c).

    A pod of a controller that stays has a successor.
    """
    if isinstance(what, Path):
        reader = Reader(*sources_of(what))
        keys = _keys(read_stream(reader, lab=False, unnamed=lambda _: "error: resource name may not be empty"))
        refuse(reader, ())
    else:
        keys = named(lab, what, namespace)
    where = f'error when deleting "{what}": ' if isinstance(what, Path) else ""
    there = _by_name(dump.documents(lab).objects())
    if missing := [not_deletable(key, where) for key in keys if key not in there]:
        raise UsageError("\n".join(missing))
    gone = {*keys, *(("endpoints", namespace, name) for kind, namespace, name in keys if kind == "service")}
    crons = {(one.namespace, one.name) for one in cron_jobs.cron_jobs(lab) if key_of(one) in gone}
    of_cron_jobs = {
        one.owner_name for one in lab.controllers if (one.namespace, cron_jobs.owner_of(one.document)) in crons
    }
    controllers = tuple(one for one in lab.controllers if _key(one) not in gone and one.owner_name not in of_cron_jobs)
    kept = {one.owner_name for one in controllers}
    replaced = (pod for pod in lab.all_pods if pod.owner in kept and ("pod", pod.namespace, pod.name) in gone)

    def stays(pod: Pod) -> bool:
        return ("pod", pod.namespace, pod.name) not in gone and (not pod.owner or pod.owner in kept)

    made = replace(
        lab,
        services=tuple(one for one in lab.services if ("service", one.namespace, one.name) not in gone),
        slices=tuple(one for one in lab.slices if not {(SLICE, one.namespace, one.name), _endpoints(one)} & gone),
        controllers=controllers,
        pods=tuple(pod for pod in lab.pods if stays(pod)),
        pending=tuple(pod for pod in lab.pending if stays(pod)),
        others=tuple(one for one in lab.others if key_of(one) not in gone),
        replaced=(*lab.replaced, *(f"{pod.namespace}/{pod.name}" for pod in replaced)),
    )
    names = {(one.namespace, one.name) for one in controllers if one.kind == "Deployment"}
    made = replace(made, replica_sets=tuple(one for one in lab.replica_sets if history.owner_of(one) in names))
    if made.replaced != lab.replaced or unfinished(made):
        made = with_leaving(merge_status(completed(_staying(made), "deletion"), made), made)
    return made, tuple(f"{kind} {quoted(name)} deleted" for kind, _, name in keys)


def scaled(lab: Lab, what: Sequence[str], replicas: int, namespace: str = "default") -> Changed:
    """`kubectl scale deployment/web --replicas N`: removes the last replicas, or adds new ones after them.

    `what`: words such as (deployment/web,) or (deployment, web, api).
    """
    keys = named(lab, what, namespace)
    if any(kind not in SCALABLE for kind, _, _ in keys):
        raise UsageError("Error from server (NotFound): the server could not find the requested resource")
    if replicas < 0:
        raise UsageError("error: The --replicas=COUNT flag is required, and COUNT must be greater than or equal to 0")
    found = dump.documents(lab)
    there = _by_name(found.controllers)
    if missing := [not_found(key) for key in keys if key not in there]:
        raise UsageError("\n".join(missing))
    for key in keys:
        there[key].spec["replicas"] = replicas
    what_failed = " ".join(f"{kind.partition('.')[0]}/{name}" for kind, _, name in keys)
    made = merge_status(completed(found, what_failed), lab)
    return made, tuple(f"{kind}/{name} scaled" for kind, _, name in keys)


def moved_on(lab: Lab, report: Mapping[str, dict[str, Any]], now: float) -> Lab:
    """The lab after its controllers have seen what their pods' nodes `report`, by NAMESPACE/NAME."""
    found = _staying(lab)
    found.controllers = [Document({**one.value}) for one in found.controllers]
    found.others = [Document({**one.value}) for one in found.others]
    jobs.move_on(found, lab, report, now)
    cron_jobs.move_on(found, lab, now)
    over = {(one.namespace, one.name) for one in lab.controllers if one.kind == jobs.JOB and jobs.expires(one) <= now}
    cron_jobs.remove(found, over)
    return with_leaving(stepped(merge_status(completed(found, "controllers"), lab), lab, report, now), lab)


def _staying(lab: Lab) -> Documents:
    """The documents of a lab without pods that terminate: their controllers may want others of their names."""
    return dump.documents(without_terminating(lab))


def _adopt(had: Documents, new: Documents) -> None:
    """New objects inherit from those they replace: a pod its node, a Service the fact that it is headless."""
    services, pods = _by_name(had.services), _by_name(had.pods)
    for one in new.services:
        spec, old = one.spec, services.get(key_of(one))
        plain = spec.get("type") in (None, "", "ClusterIP") and not service_document.cluster_ip(spec)
        if old and plain and service_document.headless(old.spec):
            spec["clusterIP"] = "None"
    for one in new.pods:
        if not one.spec.get("nodeName") and (old_pod := pods.get(key_of(one))):
            one.spec.update(dump.present({"nodeName": old_pod.spec.get("nodeName", "")}))


def _refused(had: Documents, new: Documents) -> Iterator[FieldError]:
    """Errors for changes to immutable fields."""
    services, controllers = _by_name(had.services), _by_name(had.controllers)
    for one in new.services:
        old, asked = services.get(key_of(one)), service_document.cluster_ip(one.spec)
        if not old or not asked or "ExternalName" in (old.spec["type"], one.spec.get("type")):
            continue
        if asked != service_document.cluster_ip(old.spec):
            text = invalid([asked], "may not change once set")
            yield of_object(one, FieldError(("spec", "clusterIPs", 0), text, at=("spec", "clusterIP")))
    for one in new.controllers:
        was = controllers.get(key_of(one))
        if was and one.kind != "ReplicationController" and was.spec.get("selector") != one.spec.get("selector"):
            text = invalid(one.spec.get("selector"), "field is immutable")
            yield of_object(one, FieldError(("spec", "selector"), text))
    if new.lab.document is not None:
        text = "a Lab document cannot be applied; `nslab up` takes the whole file"
        yield FieldError((new.lab.document, "kind"), text)


def _endpoints(one: EndpointSlice) -> Key:
    """The Endpoints that a slice mirrors."""
    return ("endpoints", *(mirrored_of(Document(one.document)) or ("", "")))


def _key(one: Controller) -> Key:
    return key_of(Document(one.document))


def _by_name(objects: Iterable[Document]) -> dict[Key, Document]:
    """Objects by kind, namespace and name."""
    return {key_of(one): one for one in objects}


def _keys(found: Documents) -> list[Key]:
    """The keys of a stream's objects, in its order, each once."""
    return list(_by_name(sorted(found.objects(), key=lambda one: one.path)))


def _line(key: Key, before: Document | None, after: Document | None) -> str:
    """kubectl's output line for one object."""
    same = before is not None and after is not None and before.value == after.value
    result = "created" if before is None else "unchanged" if same else "configured"
    return f"{key[0]}/{key[2]} {result}"
