"""The documents of kube-dns, the cluster's DNS: a Service, and a pod of two containers.

`kubedns` serves the records (built in: components/images); `dnsmasq`, the real program, forwards to it from port 53.
"""

from __future__ import annotations

from typing import Any

DOMAIN = "cluster.local"
NAMESPACE, NAME = "kube-system", "kube-dns"
LABELS = {"k8s-app": "kube-dns"}
"""The labels of the pod, and the Service's selector."""
SERVICE_LABELS = {**LABELS, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "KubeDNS"}
IMAGE = "registry.k8s.io/dns/k8s-dns-kube-dns:1.26.4"
PORT = 10053
"""The port on the pod's loopback where kubedns answers dnsmasq."""

DNSMASQ = (
    "dnsmasq",
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--pid-file=",
    # By default dnsmasq switches to user `nobody`, for which it needs capabilities that containers do not have.
    "--user=root",
    "--no-hosts",
    # dnsmasq forwards all queries to kubedns, which has no upstream: names outside the cluster do not exist.
    "--no-resolv",
    f"--server=127.0.0.1#{PORT}",
    # The real pod caches answers for 30 s (--cache-size=1000 and kubedns' TTL). Here a change is visible at once.
    "--cache-size=0",
    "--no-negcache",
    "--log-facility=-",
    "--log-queries",
)
PORTS = (("dns", "UDP"), ("dns-tcp", "TCP"))


def service(address: str) -> dict[str, Any]:
    """The Service with the address that is in the pods' resolv.conf."""
    ports = [{"name": name, "port": 53, "targetPort": 53, "protocol": protocol} for name, protocol in PORTS]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {**SERVICE_LABELS}},
        "spec": {"clusterIP": address, "selector": {**LABELS}, "ports": ports},
    }


def pod(node: str) -> dict[str, Any]:
    """The pod, on a node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": NAMESPACE, "labels": {**LABELS}},
        "spec": {"nodeName": node, "containers": containers()},
    }


def containers() -> list[dict[str, Any]]:
    """The containers of the pod."""
    # kubedns declares no port: it listens on the loopback only, which the node's probes do not reach.
    ports = [{"name": name, "containerPort": 53, "protocol": protocol} for name, protocol in PORTS]
    answers = {"tcpSocket": {"port": 53}}
    return [
        {"name": "kubedns", "image": IMAGE, "args": [f"--dns-port={PORT}"]},
        {"name": "dnsmasq", "command": [*DNSMASQ], "ports": ports, "readinessProbe": answers},
    ]
