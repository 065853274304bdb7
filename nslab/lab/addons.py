"""Addons that a cluster adds to the lab file's objects: kube-dns, if the lab has the address of a name server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.document import Document
from nslab.lab import dns, service_document

if TYPE_CHECKING:
    from nslab.lab.stream import Documents

KUBE_DNS = "kube-dns"


def add_dns(found: Documents) -> None:
    """Add kube-dns, unless it was added before, or the file has a Service with its address or its name."""
    lab = found.lab
    if not lab.dns_address or not lab.nodes or lab.document is None or KUBE_DNS in lab.status.get("addons", ()):
        return
    network = lab.service_network
    if lab.dns_address not in network or lab.dns_address in (network[0], network[-1]):
        return  # `validate` reports it
    address, name = str(lab.dns_address), (dns.NAMESPACE, dns.NAME)
    if any(
        service_document.cluster_ip(one.spec) == address or (one.namespace, one.name) == name for one in found.services
    ):
        return
    found.services.append(Document(dns.service(address), (lab.document,), made=True))
    if not any((one.namespace, one.name) == name for one in found.pods):
        found.pods.append(Document(dns.pod(lab.nodes[0].name), (lab.document, "spec", "dns"), made=True))
