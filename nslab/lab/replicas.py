"""The pods of Deployments, StatefulSets, DaemonSets and Jobs, as their controllers create them."""

from __future__ import annotations

from itertools import count as numbers
from typing import TYPE_CHECKING, Any

from nslab.api.document import Document
from nslab.api.suffix import generated
from nslab.api.volumes import with_claims
from nslab.dataclass import replace
from nslab.lab.jobs import JOB, SUCCEEDED, active, phase_of
from nslab.lab.node_selector import admitted, labelled
from nslab.lab.pod_template import template_hash
from nslab.lab.replica_sets import owner_reference, replica_set, revision
from nslab.lab.types import DAEMON_SET

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from nslab.api.pod_types import Pod
    from nslab.lab.stream import Documents
    from nslab.lab.types import Controller

COPIED = ("annotations", "finalizers")
"""What a controller's pod has of its template's metadata, besides labels."""
INDEX = "batch.kubernetes.io/job-completion-index"
MOST = 10_000
"""The maximum number of pods of all controllers together; a file of three lines could request millions."""


def expand(found: Documents) -> None:
    """Append the controllers' pods to the pods without an owner.

    A pod that is a document of the stream keeps its uid, its readiness, and the node, if the template still admits it,
    with the address there. Surplus pods go.
    """
    if not found.controllers:
        return
    owners = {one.view.owner_name for one in found.controllers}
    there = {(one.namespace, one.name): one.view for one in found.pods if one.view.owner in owners}
    over = [one for one in found.pods if one.view.owner.startswith(f"{JOB}/") and phase_of(one)]
    found.pods = [one for one in found.pods if one.view.owner not in owners]
    nodes_known = labelled(found.lab.nodes)
    admitting = [admitted(one.view.template, nodes_known) for one in found.controllers]
    if sum(count(one.view, nodes) for one, nodes in zip(found.controllers, admitting, strict=True)) > MOST:
        return
    for one, nodes in zip(found.controllers, admitting, strict=True):
        template, mine = _replica(one), [pod for pod in over if pod.view.owner == one.view.owner_name]
        found.pods += mine
        gone = {*found.lab.replaced, *(f"{pod.namespace}/{pod.name}" for pod in mine)}
        places = _indexes(one, mine)
        for index, name in enumerate(names(one.view, nodes, gone, sum(phase_of(pod) == SUCCEEDED for pod in mine))):
            node = nodes[index] if one.kind == DAEMON_SET else ""
            had = there.get((one.namespace, name))
            if had and nodes and had.node not in nodes:
                had = replace(had, node="", assigned=None)
            found.pods.append(_named(one, template, name, places[index] if places else index, node, had))


def _indexes(job: Document, over: Sequence[Document]) -> list[int]:
    """The completion indexes that an Indexed Job's active pods have: those of which no pod has succeeded."""
    if job.kind != JOB or job.spec.get("completionMode") != "Indexed":
        return []
    done = {pod.metadata.get("labels", {}).get(INDEX) for pod in over if phase_of(pod) == SUCCEEDED}
    return [index for index in range(job.view.replicas) if str(index) not in done]


def _start(stateful_set: dict[str, Any]) -> int:
    """The ordinal of a StatefulSet's first pod."""
    return int(stateful_set.get("spec", {}).get("ordinals", {}).get("start", 0))


def count(controller: Controller, nodes: Sequence[str], succeeded: int = 0) -> int:
    """The number of a controller's pods. `succeeded`: how many more a Job has that have done their work."""
    if controller.kind == JOB:
        return active(controller, succeeded)
    return len(nodes) if controller.kind == DAEMON_SET else max(controller.replicas, 0)


def names(
    controller: Controller, nodes: Sequence[str] = (), replaced: Collection[str] = (), succeeded: int = 0
) -> Iterator[str]:
    """The names of a controller's pods. Scaling up only appends names.

    `replaced`: pods, NAMESPACE/NAME, whose names do not come again, except a StatefulSet's. `succeeded`: as in `count`.
    """
    if controller.kind == "StatefulSet":
        start = _start(controller.document)
        yield from (f"{controller.name}-{start + index}" for index in range(count(controller, nodes)))
        return
    hashed = template_hash(controller.template)
    middle = f"{hashed}-" if controller.kind == "Deployment" else ""
    seed = "" if controller.kind == "Deployment" else f"{controller.kind}/"
    seed = f"{seed}{controller.namespace}/{controller.name}/{hashed}"
    gone = {key.partition("/")[2] for key in replaced if key.startswith(f"{controller.namespace}/")}
    base, every = f"{controller.name}-{middle}", (f"{seed}/{number}" for number in numbers())
    per_node = [_seeds_of(f"{seed}/{node}") for node in nodes] if controller.kind == DAEMON_SET else []
    for seeds in per_node or [every] * count(controller, nodes, succeeded):
        name = next(name for each in seeds if (name := generated(base, each)) not in gone)
        gone.add(name)
        yield name


def _seeds_of(seed: str) -> Iterator[str]:
    """The seeds of the pods that a node has of a DaemonSet, one after the other."""
    yield seed
    yield from (f"{seed}/{number}" for number in numbers(1))


def _replica(one: Document) -> Document:
    """A controller's pod without a name. All its pods share one spec and one owner reference."""
    controller: Controller = one.view
    template, value = controller.template, one.spec.get("template", {})
    labels, owner = dict(template.labels) | revision(controller), one.value
    if one.kind == "Deployment":
        owner = replica_set(controller)
    elif one.kind == JOB:
        labels |= dict.fromkeys(("batch.kubernetes.io/job-name", "job-name"), one.name)
    # GetPodFromTemplate: nothing else that belongs to one pod, such as its deletion.
    metadata: dict[str, Any] = {"namespace": one.namespace, "labels": labels}
    metadata |= {name: value for name, value in value.get("metadata", {}).items() if name in COPIED}
    metadata["ownerReferences"] = [owner_reference(owner)]
    spec = value.get("spec", {})
    if one.kind == "StatefulSet" and one.spec.get("serviceName"):
        spec = {**spec, "subdomain": one.spec["serviceName"]}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    view = replace(
        template,
        namespace=one.namespace,
        labels=tuple(labels.items()),
        owner=controller.owner_name,
        deletion=0.0,
        document=made,
    )
    return Document(made, (*one.path, "spec", "template"), made=True, view=view)


def _named(controller: Document, one: Document, name: str, index: int, node: str, there: Pod | None) -> Document:
    """The pod with a name, and with the status of the existing one if there is one. `node`: a DaemonSet's choice."""
    labels = dict(one.view.labels)
    if controller.kind == "StatefulSet":
        labels["statefulset.kubernetes.io/pod-name"] = name
        labels["apps.kubernetes.io/pod-index"] = name.rpartition("-")[2]
    elif controller.kind == JOB and controller.spec.get("completionMode") == "Indexed":
        labels[INDEX] = str(index)
    spec = with_claims(one.value["spec"], controller.spec.get("volumeClaimTemplates"), name)
    subdomain = spec.get("subdomain", "")
    if controller.kind == "StatefulSet":
        spec = {"hostname": name, **spec}
    value = {**one.value, "metadata": {**one.value["metadata"], "labels": labels, "name": name}, "spec": spec}
    view = replace(one.view, name=name, labels=tuple(labels.items()), node=node or one.view.node, document=value)
    view = replace(view, subdomain=subdomain, dns_name=spec.get("hostname", "") if subdomain else "")
    if there is not None:
        node = view.node or there.node
        view = replace(view, uid=there.uid, assigned=there.assigned, ready=there.ready, node=node)
    return Document(value, one.path, made=True, view=view)
