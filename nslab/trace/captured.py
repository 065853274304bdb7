"""A node's address that another node has on kube-ipvs0: it is a Service's external IP there, too (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.objects.inet import Address
from nslab.probes.cause import Cause, CauseKind
from nslab.proxy.ipvs import DEVICE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.lab.types import Lab
    from nslab.trace.needs import Need


def captured(lab: Lab, needs: Iterable[Need]) -> Cause | None:
    """The cause if IPVS takes packets to a node on another node (kubernetes/kubernetes#93175)."""
    nodes = {node.address: node.name for node in lab.nodes}
    for need in needs:
        match need.obj:
            case Address(dev=dev, address=found) if dev == DEVICE and nodes.get(found.ip, need.where) != need.where:
                services = [one for one in lab.services if found.ip in (*one.external_ips, *one.load_balancer_ips)]
                of = f"{services[0].namespace}/{services[0].name}" if services else "a Service"
                sentence = (
                    f"{found.ip} is {nodes[found.ip]}'s address and an external IP of {of}, and {need.where} has it on "
                    f"{DEVICE} (kube-proxy's): nothing of {need.where} reaches {nodes[found.ip]}"
                )
                return Cause(sentence, CauseKind.SEEN, need.where)
    return None
