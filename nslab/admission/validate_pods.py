"""Checks of a lab's pods that need more than one field."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from nslab.api.sentences import duplicate, of_object
from nslab.api.words import counted, shown
from nslab.errors import FieldError, FieldPath
from nslab.lab import views
from nslab.lab.defaults import REQUEST
from nslab.lab.scheduling import room

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

    from nslab.api.document import Document
    from nslab.api.pod_types import Container, Pod
    from nslab.lab.lab_document import LabDocument
    from nslab.lab.stream import Documents

SMALLEST = 30
"""The prefix length of the smallest network with two hosts."""


def pods(found: Documents) -> Iterator[FieldError]:
    """Each pod has a unique name and a unique uid."""
    names: dict[tuple[str, str], FieldPath] = {}
    uids: dict[str, FieldPath] = {}
    for one in found.pods:
        path: FieldPath = (*one.path, "metadata", "name")
        pod = one.view
        if pod.name and names.setdefault((pod.namespace, pod.name), path) != path:
            twice = FieldError(("metadata", "name"), duplicate(pod.name), first=names[pod.namespace, pod.name])
            yield of_object(one, twice)
        elif pod.name and uids.setdefault(pod.uid, path) != path:
            yield FieldError((*one.path, "metadata", "uid"), f"two pods have the uid {pod.uid}", first=uids[pod.uid])


def containers(found: Documents) -> Iterator[FieldError]:
    """The containers of pods and templates are valid. Replicas are not checked again."""
    for who, place, pod in (*templates(found), *_cron_templates(found)):
        seen: dict[str, FieldPath] = {}
        for field, index, container in of_pod(pod):
            path = (*place, "spec", field, index)
            name = shown(container.name) if container.name else "this container"
            if container.name and seen.setdefault(container.name, (*path, "name")) != (*path, "name"):
                text = f"two containers of {who} are called {name}"
                yield FieldError((*path, "name"), text, first=seen[container.name])
            if not container.image and not container.command:
                yield FieldError(path, f"{name} has neither image nor command; give image: agnhost, or a command")
            elif container.command and not container.command[0]:
                yield FieldError((*path, "command"), f"{name}: the command's first word is empty")
        yield from _ports(who, place, pod)
        yield from _mounts(who, place, pod)


def of_pod(pod: Pod) -> Iterator[tuple[str, int, Container]]:
    """Each container of a pod, and where it stands."""
    for field, some in (("initContainers", pod.init), ("containers", pod.containers)):
        yield from ((field, index, one) for index, one in enumerate(some))


def templates(found: Documents) -> Iterator[tuple[str, FieldPath, Pod]]:
    """Every written pod spec, of a pod or a controller's template: its owner in words, its path, its view."""
    yield from ((f"pod {shown(one.name)}", one.path, one.view) for one in found.pods if not one.made)
    for one in found.controllers:
        yield f"{one.kind} {shown(one.name)}", (*one.path, "spec", "template"), one.view.template


def cron_jobs(found: Documents) -> Iterator[Document]:
    """The CronJobs, which are kept."""
    return (one for one in found.others if one.kind == "CronJob" and str(one.value["apiVersion"]).startswith("batch/"))


def pod_specs(found: Documents) -> Iterator[tuple[Document, FieldPath, dict[str, Any]]]:
    """Every written pod spec: the object that has it, its path there, and its value."""
    yield from ((one, ("spec",), one.spec) for one in found.pods if not one.made)
    inside: FieldPath = ("spec", "template", "spec")
    yield from ((one, inside, one.spec.get("template", {}).get("spec", {})) for one in found.controllers)
    for one in cron_jobs(found):
        template = one.spec.get("jobTemplate", {}).get("spec", {}).get("template", {})
        yield one, ("spec", "jobTemplate", *inside), template.get("spec", {})


def _cron_templates(found: Documents) -> Iterator[tuple[str, FieldPath, Pod]]:
    """As `templates`, of CronJobs."""
    for one in cron_jobs(found):
        template = one.spec.get("jobTemplate", {}).get("spec", {}).get("template", {})
        path = (*one.path, "spec", "jobTemplate", "spec", "template")
        yield f"CronJob {shown(one.name)}", path, views.pod(template, one.namespace)


def _mounts(who: str, at: FieldPath, pod: Pod) -> Iterator[FieldError]:
    """A container mounts volumes of its pod, each at a place of its own."""
    known = tuple(one.name for one in pod.volumes)
    for field, index, container in of_pod(pod):
        seen: dict[str, FieldPath] = {}
        for place, mount in enumerate(container.mounts):
            path = (*at, "spec", field, index, "volumeMounts", place)
            if mount.volume not in known:
                text = f"{who} has no volume {shown(mount.volume)}, which container {shown(container.name)} mounts"
                yield FieldError((*path, "name"), text, word=mount.volume, known=known)
            if seen.setdefault(mount.path, (*path, "mountPath")) != (*path, "mountPath"):
                text = f"container {shown(container.name)} mounts two volumes at {shown(mount.path)}"
                yield FieldError((*path, "mountPath"), text, first=seen[mount.path])


def _ports(who: str, at: FieldPath, pod: Pod) -> Iterator[FieldError]:
    """A container's ports have different names. Their numbers may repeat (nslab.admission.warn)."""
    for index, container in enumerate(pod.containers):
        names: dict[str, FieldPath] = {}
        for place, port in enumerate(container.ports):
            path: FieldPath = (*at, "spec", "containers", index, "ports", place, "name")
            if port.name and names.setdefault(port.name, path) != path:
                yield FieldError(path, f"two ports of {who} are called {port.name}", first=names[port.name])


def placement(found: Documents) -> Iterator[FieldError]:
    """Pods are on existing nodes."""
    nodes = tuple(node.name for node in found.lab.nodes)
    if not all(nodes):
        return  # a node without a name may be the one that the pod names
    known = set(nodes)
    for one in found.pods:
        pod = one.view
        if nodes and pod.node and pod.node not in known:
            path = (*one.path, "spec", "nodeName")
            yield FieldError(path, f"there is no node {shown(pod.node)}", word=pod.node, known=nodes)


def addresses(found: Documents) -> Iterator[FieldError]:
    """A pod's address is in its node's podCIDR (or borrowed), not reserved, and unique."""
    lab = found.lab
    rules, cidrs = lab.rules, {node.name: node.pod_cidr for node in lab.nodes}
    back = {cidr: rules.reserved(cidr, lab.encapsulation) for cidr in cidrs.values() if cidr}
    seen: dict[IPv4Address, FieldPath] = {}
    for one in found.pods:
        path: FieldPath = (*one.path, "metadata", "annotations", REQUEST)
        pod: Pod = one.view
        if pod.host_network:
            continue  # the node's address is its own
        asks = any(name == REQUEST for name, _ in pod.annotations)
        if asks and not rules.requests:
            yield FieldError(path, f"{lab.plugin} allocates addresses in turn and does not read {REQUEST}; remove it")
        elif asks and not pod.requested:
            yield FieldError(path, f"{REQUEST} must be a JSON list with one IPv4 address, such as '[\"20.111.156.7\"]'")
        if rules.by_exec and pod.assigned:
            # CNI plugins decide on addresses; they may ignore podCIDRs and requests.
            if seen.setdefault(pod.assigned, path) != path:
                yield FieldError(path, f"two pods have the address {pod.assigned}", first=seen[pod.assigned])
            continue
        if pod.requested and pod.assigned and pod.requested != pod.assigned:
            text = f"status.podIP is {pod.assigned}, and the pod asks for {pod.requested}; remove one of them"
            yield FieldError((*one.path, "status", "podIP"), text)
        if pod.assigned and not pod.requested:
            path = (*one.path, "status", "podIP")
        address, cidr = pod.requested or pod.assigned, cidrs.get(pod.node)
        if address is None:
            continue
        lender = _lender(lab, pod) or pod.node
        if cidr and address not in cidr and lender == pod.node:
            text = f"the address {address} of pod {shown(pod.name)} is outside the podCIDR {cidr} of {shown(pod.node)}"
            yield FieldError(path, text)
        elif (held := cidrs.get(lender)) and address in back[held]:
            use = f"on {shown(lender)} it is {back[held][address]}"
            yield FieldError(path, f"pod {shown(pod.name)} cannot have the address {address}; {use}")
        elif seen.setdefault(address, path) != path:
            yield FieldError(path, f"two pods have the address {address}", first=seen[address])


def _lender(lab: LabDocument, pod: Pod) -> str:
    """The node of whose podCIDR a pod of another node requests an address; "" if it borrows none."""
    if not (pod.node and pod.requested and lab.rules.borrows):
        return ""
    holders = (one.name for one in lab.nodes if one.pod_cidr and pod.requested in one.pod_cidr)
    return next((name for name in holders if name != pod.node), "")


def enough_room(found: Documents) -> Iterator[FieldError]:
    """A node's podCIDR has addresses for its own pods, without those that borrow one, and for what it lends."""
    lab, pods = found.lab, [one.view for one in found.pods if not one.view.host_network]
    lent = Counter(_lender(lab, pod) for pod in pods)
    load = Counter(pod.node for pod in pods if not _lender(lab, pod))
    for index, node in enumerate(lab.nodes):
        if not node.pod_cidr or not node.name:
            continue
        back, free = lab.rules.reserved(node.pod_cidr, lab.encapsulation), room(lab, node.pod_cidr)
        if load[node.name] + lent[node.name] > free and node.pod_cidr.prefixlen <= SMALLEST:
            but = f" ({len(back)} of its addresses reserved: {', '.join(back.values())})" if back else ""
            lends = f" and lends {counted(lent[node.name], 'address')}" if lent[node.name] else ""
            has = f"{shown(node.name)} has {counted(load[node.name], 'pod')}{lends}"
            text = f"{has}, and its podCIDR {node.pod_cidr} holds {free}{but}"
            yield FieldError(lab.place("nodes", index, "podCIDR"), text)
