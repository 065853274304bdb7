"""Addons that a cluster adds to the lab file's objects: kube-dns, if the lab has the address of a name server; and the
Service kubernetes, which an API server makes itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api import service_document
from nslab.api.document import Document
from nslab.dataclass import replace
from nslab.lab import dns, service_views
from nslab.lab.allocate import KUBERNETES
from nslab.lab.types import ProxyMode

if TYPE_CHECKING:
    from typing import Any

    from nslab.lab.stream import Documents
    from nslab.lab.types import Lab

KUBE_DNS = "kube-dns"
API_SERVICE = ("default", "kubernetes")
"""Namespace and name. It has the first address of the service network, in every cluster."""


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


def with_api_service(lab: Lab) -> Lab:
    """The lab with the Service kubernetes, unless the file has one, or the lab has neither Services nor kube-proxies.

    It has no endpoints, since nothing in a lab speaks the API yet: DNS knows its name, and connections are refused.
    """
    address = lab.networks.services[KUBERNETES]
    taken = {one.cluster_ip for one in lab.services} | {lab.dns_address}
    known = any((one.namespace, one.name) == API_SERVICE for one in lab.services)
    if known or address in taken or not (lab.services or lab.proxy_mode is not ProxyMode.NONE):
        return lab
    return replace(lab, services=(*lab.services, service_views.service(Document(_api_service(str(address))))))


def _api_service(address: str) -> dict[str, Any]:
    """The document, as kubectl shows it."""
    namespace, name = API_SERVICE
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": address,
            "clusterIPs": [address],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": 6443}],
            "sessionAffinity": "None",
        },
    }
