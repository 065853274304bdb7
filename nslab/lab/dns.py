"""The cluster's DNS, as kube-dns has it: a Service, and a pod of two containers (here they are only described).

`kubedns` knows the records (built in: components/images); `dnsmasq`, the real program, stands before it on port 53.
"""

from __future__ import annotations

from nslab.lab.types import Container, ContainerPort, Protocol, ServicePort

DOMAIN = "cluster.local"
NAMESPACE, NAME = "kube-system", "kube-dns"
LABELS = (("k8s-app", "kube-dns"),)
"""The labels of the pod, and the Service's selector."""
SERVICE_LABELS = (*LABELS, ("kubernetes.io/cluster-service", "true"), ("kubernetes.io/name", "KubeDNS"))
IMAGE = "registry.k8s.io/dns/k8s-dns-kube-dns:1.26.4"
PORT = 10053
"""Where kubedns answers dnsmasq, on the pod's loopback."""

DNSMASQ = (
    "dnsmasq",
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--pid-file=",
    # Without it, dnsmasq becomes `nobody`, and asks for capabilities that no container has.
    "--user=root",
    "--no-hosts",
    # Every name is asked of kubedns, which has no upstream: what is not in the cluster does not exist.
    "--no-resolv",
    f"--server=127.0.0.1#{PORT}",
    # The real pod keeps answers for 30 s (--cache-size=1000 and kubedns' TTL). Here a change is seen at once.
    "--cache-size=0",
    "--no-negcache",
    "--log-facility=-",
    "--log-queries",
)
PORTS = (
    ServicePort(port=53, target=53, name="dns", protocol=Protocol.UDP),
    ServicePort(port=53, target=53, name="dns-tcp", protocol=Protocol.TCP),
)


def containers() -> tuple[Container, ...]:
    """The containers of the pod."""
    # kubedns declares none: it answers on the loopback only, where no probe of the node comes.
    dnsmasq = (ContainerPort(53, Protocol.UDP, "dns"), ContainerPort(53, Protocol.TCP, "dns-tcp"))
    return (
        Container("kubedns", IMAGE, args=(f"--dns-port={PORT}",)),
        Container("dnsmasq", command=DNSMASQ, ports=dnsmasq),
    )
