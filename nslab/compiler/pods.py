"""The processes: each pod's pause process, which holds its namespaces, and the containers that join them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from nslab.api import security
from nslab.api.pod_types import Protocol, RestartPolicy
from nslab.compiler import volumes
from nslab.compiler.addresses import address_of, pod_netns
from nslab.compiler.environment import Surroundings, has_secrets, has_sources, start
from nslab.compiler.resolver import aliases, domain, resolv_conf
from nslab.objects import names
from nslab.objects.container import Limits, Sandbox, Security, Workload
from nslab.objects.sysctl import Sysctl
from nslab.runtime.health_check import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.api.pod_types import Container, Pod
    from nslab.lab.types import Lab
    from nslab.objects.base import KernelObject

_KUBELET, _RUNTIME = "kubelet", "container runtime"
LOW_PORTS = 1024
"""The first port that every process may bind."""


def pods(lab: Lab) -> Iterator[KernelObject]:
    """The processes of every pod, node by node."""
    around = Surroundings(lab)
    for node in lab.nodes:
        for pod in lab.pods:
            if pod.node == node.name:
                if not pod.host_network and _binds_low_ports(pod):
                    # containerd and Docker set it in every pod; here only where a container needs it.
                    path = "net/ipv4/ip_unprivileged_port_start"
                    yield Sysctl(pod_netns(lab, pod), path, "0", "1024", by=_RUNTIME)
                yield sandbox(lab, pod, around)
                yield from (workload(lab, pod, container, around) for container in pod.every)


def _binds_low_ports(pod: Pod) -> bool:
    """Whether a container that lacks NET_BIND_SERVICE declares a port below 1024."""
    for container in pod.every:
        uid, _, _, dropped, _ = rights(pod, container)
        ports = (*container.ports, *(container.standin.ports if container.standin else ()))
        if (uid or "NET_BIND_SERVICE" in dropped) and any(port.port < LOW_PORTS for port in ports):
            return True
    return False


def sandbox(lab: Lab, pod: Pod, around: Surroundings | None = None) -> Sandbox:
    """The pod's pause process. `around`: the sources of its volumes' files, if the caller has gathered them already."""
    return Sandbox(
        pod_netns(lab, pod),
        names.netns(lab.name, pod.node),
        namespace=pod.namespace,
        pod=pod.name,
        uid=pod.uid,
        hostname=pod.uts_name,
        address=address_of(pod),
        share_pid=pod.share_process_namespace,
        resolv_conf=resolv_conf(lab, pod),
        domain=domain(pod),
        aliases=aliases(pod),
        host_network=pod.host_network,
        asked=repr(pod.mounted) if pod.mounted else "",
        volumes=volumes.volumes(around or Surroundings(lab), pod) if pod.mounted else (),
        by=_KUBELET,
    )


def workload(lab: Lab, pod: Pod, container: Container, around: Surroundings | None = None) -> Workload:
    """One container; without a readiness probe, it is ready once its first declared TCP port accepts connections.

    If it declares no port, the port of its probe counts.
    `around`: the lab's ConfigMaps, Secrets and Services, if the caller has gathered them already.
    """
    probes = (container.readiness, container.liveness, container.startup)
    readiness, liveness, startup = (check(container, probe) for probe in probes)
    if liveness and not liveness.port and liveness.kind != "exec":
        liveness = None  # the kubelet ignores a probe that it cannot run: the container is not killed
    around = around or Surroundings(lab)
    begun = start(around, pod, container)
    of_init = kind(pod, container) == "init"
    ports = [port.port for port in container.ports if port.protocol is Protocol.TCP and not of_init]
    ports += [probe.port for probe in (readiness, liveness) if probe and isinstance(probe.port, int) and probe.port]
    return Workload(
        pod_netns(lab, pod),
        names.netns(lab.name, pod.node),
        container=container.name,
        argv=container.argv,
        env=container.env,
        working_dir=container.working_dir,
        port=ports[0] if ports else 0,
        restart=restart(pod, container),
        readiness=readiness,
        liveness=liveness,
        startup=startup,
        grace=float(pod.grace),
        init=kind(pod, container),
        after=after(pod, container),
        lifecycle=tuple((name, action) for name, hook in container.lifecycle if (action := check(container, hook))),
        security=rights(pod, container),
        limits=Limits(container.limits.memory, container.limits.storage),
        sources=repr((container.value_sources, container.env_from, container.mounts)) if has_sources(container) else "",
        start=begun._replace(mounts=volumes.mounts(pod, container, dict(begun.env))),
        image=container.image,
        masked=start(around.masked(), pod, container) if has_secrets(container) else None,
        by=_RUNTIME,
    )


def kind(pod: Pod, container: Container) -> Literal["", "init", "sidecar"]:
    """The kind of init container; "" for a regular container."""
    if container not in pod.init:
        return ""
    return "sidecar" if container.sidecar else "init"


def restart(pod: Pod, container: Container) -> Literal["Always", "OnFailure", "Never"]:
    """When the kubelet restarts a container. It restarts no init container that exited with 0."""
    match kind(pod, container):
        case "sidecar":
            return "Always"
        case "init" if pod.restart_policy is not RestartPolicy.NEVER:
            return "OnFailure"
        case _:
            return pod.restart_policy.value


def after(pod: Pod, container: Container) -> tuple[str, ...]:
    """The names of the init containers that start before a container."""
    number = pod.init.index(container) if container in pod.init else len(pod.init)
    return tuple(one.name for one in pod.init[:number])


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


def check(container: Container, probe: HealthCheck | None) -> HealthCheck | None:
    """A probe with its port as a number. The kubelet resolves a name in the container's own ports; 0 if unknown."""
    if probe is None:
        return None
    named = {port.name: port.port for port in container.ports if port.name}
    port = probe.port if isinstance(probe.port, int) else named.get(probe.port, 0)
    return HealthCheck(**{**probe.fields(), "port": port})
