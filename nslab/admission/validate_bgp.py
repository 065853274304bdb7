"""Checks of who speaks BGP with whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.words import did_you_mean, shown
from nslab.errors import FieldError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.bgp import Bgp
    from nslab.lab.lab_document import LabDocument
    from nslab.lab.stream import Documents


def bgp(found: Documents) -> Iterator[FieldError]:
    """BIRD is Calico's; reflectors are nodes; and nodes learn each other's blocks."""
    lab, speaks = found.lab, found.lab.bgp
    if speaks is None:
        yield from _without(lab)
    elif not lab.rules.bgp:
        yield FieldError(lab.place("cni", "bgp"), f"{lab.rules.label} no BGP; remove it, or use plugin: calico")
    else:
        yield from _reflectors(lab, speaks)
        if not (speaks.mesh or speaks.reflectors or _reflected(lab, speaks)):
            text = "without a mesh no node learns another's blocks; name routeReflectors, or peer with a router of"
            yield FieldError(lab.place("cni", "bgp"), f"{text} the nodes' own autonomous system, {speaks.as_number}")


def _without(lab: LabDocument) -> Iterator[FieldError]:
    for index, router in enumerate(lab.routers):
        if router.as_number:
            text = "an autonomous system needs a BGP daemon; write spec.cni.bgp: bird, or bgp: true here"
            yield FieldError(lab.place("routers", index, "bgp"), text)


def _reflectors(lab: LabDocument, speaks: Bgp) -> Iterator[FieldError]:
    nodes = [node.name for node in lab.nodes]
    for index, name in enumerate(speaks.reflectors):
        if name not in nodes:
            path = lab.place("cni", "bgp", "routeReflectors", index)
            yield FieldError(path, f"there is no node {shown(name)}{did_you_mean(name, nodes)}")
    if speaks.reflectors and speaks.mesh:
        path = lab.place("cni", "bgp", "nodeToNodeMeshEnabled")
        yield FieldError(path, "route reflectors take the mesh's place; remove one of the two")


def _reflected(lab: LabDocument, speaks: Bgp) -> bool:
    """Whether a router of the nodes' own autonomous system is a peer."""
    own = {
        leg
        for router in lab.routers
        for leg in router.legs.values()
        if router.bgp and router.as_number in (0, speaks.as_number)
    }
    return any(peer.address in own and peer.as_number == speaks.as_number for peer in speaks.peers)
