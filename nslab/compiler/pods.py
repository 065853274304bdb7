"""The processes: each pod's pause process, which holds its namespaces, and the containers that join them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of, pod_netns
from nslab.lab import security
from nslab.lab.types import Protocol
from nslab.objects import names
from nslab.objects.container import Limits, Sandbox, Security, Workload
from nslab.objects.sysctl import Sysctl
from nslab.runtime.health_check import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Container, Lab, Pod
    from nslab.objects.base import KernelObject

_KUBELET, _RUNTIME = "kubelet", "container runtime"
LOW_PORTS = 1024
"""The first port that every process may bind."""


def pods(lab: Lab) -> Iterator[KernelObject]:
    """The processes of every pod, node by node."""
    for node in lab.nodes:
        for pod in lab.pods:
            if pod.node == node.name:
                if _binds_low_ports(pod):
                    # containerd and Docker set it in every pod; here only where a container needs it.
                    path = "net/ipv4/ip_unprivileged_port_start"
                    yield Sysctl(pod_netns(lab, pod), path, "0", "1024", by=_RUNTIME)
                yield sandbox(lab, pod)
                yield from (workload(lab, pod, container) for container in pod.containers)


def _binds_low_ports(pod: Pod) -> bool:
    """Whether a container without the right to it (NET_BIND_SERVICE) listens on a port below 1024."""
    for container in pod.containers:
        uid, _, _, dropped, _ = rights(pod, container)
        ports = (*container.ports, *(container.standin.ports if container.standin else ()))
        if (uid or "NET_BIND_SERVICE" in dropped) and any(port.port < LOW_PORTS for port in ports):
            return True
    return False


def sandbox(lab: Lab, pod: Pod) -> Sandbox:
    """The pod's pause process."""
    return Sandbox(
        pod_netns(lab, pod),
        names.netns(lab.name, pod.node),
        namespace=pod.namespace,
        pod=pod.name,
        uid=pod.uid,
        hostname=pod.hostname or pod.name,
        address=address_of(pod),
        share_pid=pod.share_process_namespace,
        resolv_conf=resolv_conf(lab, pod),
        by=_KUBELET,
    )


def workload(lab: Lab, pod: Pod, container: Container) -> Workload:
    """One container; it counts as ready once it accepts connections on its first declared TCP port.

    A readiness probe decides instead, if there is one; a container without ports uses its probe's port.
    """
    readiness, liveness = check(container, container.readiness), check(container, container.liveness)
    if liveness and not liveness.port:
        liveness = None  # the kubelet ignores a probe that it cannot run: the container is not killed
    ports = [port.port for port in container.ports if port.protocol is Protocol.TCP]
    ports += [probe.port for probe in (readiness, liveness) if probe and isinstance(probe.port, int) and probe.port]
    return Workload(
        pod_netns(lab, pod),
        names.netns(lab.name, pod.node),
        container=container.name,
        argv=container.argv,
        env=container.env,
        working_dir=container.working_dir,
        port=ports[0] if ports else 0,
        restart=pod.restart_policy.value,
        readiness=readiness,
        liveness=liveness,
        security=rights(pod, container),
        limits=Limits(container.limits.memory, container.limits.storage),
        by=_RUNTIME,
    )


def rights(pod: Pod, container: Container) -> Security:
    """The effective securityContext of a container, from its own and its pod's."""
    contexts = pod.security, container.security
    return Security(
        security.user(*contexts),
        security.group(*contexts),
        security.groups(pod.security),
        security.dropped(container.security),
        container.security.read_only,
    )


def check(container: Container, asked: HealthCheck | None) -> HealthCheck | None:
    """A probe with its port as a number. The kubelet resolves a name in the container's own ports; 0 if unknown."""
    if asked is None:
        return None
    named = {port.name: port.port for port in container.ports if port.name}
    port = asked.port if isinstance(asked.port, int) else named.get(asked.port, 0)
    return HealthCheck(**{**asked.fields(), "port": port})


def resolv_conf(lab: Lab, pod: Pod) -> str:
    """resolv.conf as the kubelet writes it for dnsPolicy ClusterFirst; "" without a cluster DNS."""
    if lab.dns_address is None:
        return ""
    domains = f"{pod.namespace}.svc.cluster.local svc.cluster.local cluster.local"
    return f"search {domains}\nnameserver {lab.dns_address}\noptions ndots:5\n"
