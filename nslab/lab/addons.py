"""What a cluster has that nobody wrote into the file: kube-dns, where the lab names the address of a name server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.lab import dns
from nslab.lab.draft import PodDraft, ServiceDraft, ServicePortDraft
from nslab.lab.types import HealthCheck

if TYPE_CHECKING:
    from nslab.lab.draft import LabDraft

KUBE_DNS = "kube-dns"


def add_dns(draft: LabDraft) -> None:
    """Add kube-dns, unless it was added before, or the file has a Service of its address or its name."""
    if not draft.dns_address or not draft.nodes or draft.document is None or KUBE_DNS in draft.addons:
        return
    network = draft.service_network
    if network and (draft.dns_address not in network or draft.dns_address in (network[0], network[-1])):
        return  # which `validate` says
    address, name = str(draft.dns_address), (dns.NAMESPACE, dns.NAME)
    if any(one.asked == address or (one.namespace, one.name) == name for one in draft.services):
        return
    draft.services.append(
        ServiceDraft(
            name=dns.NAME,
            namespace=dns.NAMESPACE,
            labels=dict(dns.SERVICE_LABELS),
            cluster_ip=address,
            selector=dict(dns.LABELS),
            ports=tuple(ServicePortDraft(port.port, port.name, str(port.protocol), port.target) for port in dns.PORTS),
            document=draft.document,
        )
    )
    if not any((pod.namespace, pod.name) == name for pod in draft.pods):
        containers = dns.containers()
        answers = HealthCheck("tcpSocket", 53)
        draft.pods.append(
            PodDraft(
                name=dns.NAME,
                namespace=dns.NAMESPACE,
                labels=dict(dns.LABELS),
                node=draft.nodes[0].name,
                containers=tuple(replace(one, readiness=answers) if one.ports else one for one in containers),
                document=draft.document,
                inside=("spec", "dns"),
            )
        )
