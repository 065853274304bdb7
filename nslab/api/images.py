"""The programs of containers: nslab pulls no images.

Some images are built-in programs (`BUILT_IN`). Containers without an image, and those of tool images (`TOOLS`), run
their command with this machine's programs. A stand-in replaces every other image: it answers on the container's
declared ports and on those of its probes; its command and its hooks do not run. It also replaces a tool that asks for
more rights than nslab gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api import security
from nslab.api.pod_types import BUILT_IN, ContainerPort, Protocol, StandIn, image_name
from nslab.api.rules import names
from nslab.dataclass import replace
from nslab.runtime.health_check import HealthCheck

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from nslab.api.pod_types import Container, Pod

AGNHOST = ("netexec", "grpc-health-checking", "pause")
"""The subcommands of the built-in agnhost."""
TOOLS = names(
    """
    agnhost alpine amazonlinux archlinux bash busybox centos cirros curl debian debian-base dnsutils fedora
    jessie-dnsutils
    kubectl netshoot network-multitool opensuse oraclelinux rockylinux toolbox ubi ubi-minimal ubuntu
    """
)
NAME_SERVERS = ("coredns",)
"""The images whose stand-in is the cluster's name server on its UDP ports."""
NONROOT = 65532
"""The user of a stand-in that must not be root and has no user: `nonroot` of distroless images."""
BUSYBOX = ("alpine", "busybox")
"""Tool images whose programs are busybox's applets."""
ENTRYPOINTS = {"curl": ("curl",), "kubectl": ("kubectl",)}
"""The entry points of tool images; the others run their arguments as a command, and without any a shell."""
CHOICE = "nslab/image"
"""The annotation by which a pod chooses the programs of its images: `machine` (this machine's) or `stand-in`."""
MACHINE, STAND_IN = "machine", "stand-in"


def played(pod: Pod, targets: Iterable[ContainerPort] = ()) -> Pod:
    """The pod with the programs of its images.

    `targets`: ports to which Services send; the first stand-in listens there if no container declares a port.
    """
    choice = dict(pod.annotations).get(CHOICE, "")
    containers = _apart(_within_rights(pod, _played(one, choice, ends=_ends(pod))) for one in pod.containers)
    declared = any(one.ports for one in pod.containers)
    first = next((index for index, one in enumerate(containers) if one.standin and not one.standin.ends), None)
    if first is not None and not declared and (wanted := tuple(targets)):
        one = containers[first]
        standin = one.standin or StandIn()
        ports = tuple(dict.fromkeys((*standin.ports, *wanted)))
        containers[first] = replace(one, standin=replace(standin, ports=ports))
    init = tuple(_within_rights(pod, _played(one, choice, ends=not one.sidecar)) for one in pod.init)
    return replace(pod, containers=tuple(containers), init=init)


def _apart(containers: Iterable[Container]) -> list[Container]:
    """The containers, whose stand-ins leave each port to the first that declares it, and listen there once."""
    taken: set[tuple[int, str]] = set()
    found = []
    for one in containers:
        found.append(_without(one, taken))
        taken |= {(port.port, port.protocol) for port in one.ports}
    return found


def _without(container: Container, taken: Collection[tuple[int, str]]) -> Container:
    standin = container.standin
    if not standin:
        return container
    ports = {(port.port, port.protocol): port for port in reversed(standin.ports)}
    own = tuple(port for key, port in reversed(ports.items()) if key not in taken)
    return replace(container, standin=replace(standin, ports=own))


def _ends(pod: Pod) -> bool:
    """Whether a pod's containers must exit: those of a Job."""
    return pod.owner.startswith("Job/")


def _played(container: Container, choice: str, *, ends: bool) -> Container:
    """The container with the program of its image."""
    if choice != STAND_IN:
        name = image_name(container.image)
        if name in BUILT_IN and (args := _built_in(container, name)) is not None:
            return replace(container, command=(), args=args)
        if not container.image or (choice == MACHINE and container.command):
            return container
        if name in TOOLS and (container.command or name not in BUILT_IN) and not _beyond(container):
            return _tool(container, name)
    return stand_in(container, ends=ends)


def _beyond(container: Container) -> bool:
    """Whether a container asks for more rights than nslab gives: its command would fail."""
    return container.security.privileged or not security.DEFAULT_SET.issuperset(container.security.add)


def _within_rights(pod: Pod, container: Container) -> Container:
    """A stand-in without the rights that nslab does not give; it has a user where its image would need one."""
    if not container.standin:
        return container
    own, of_pod = container.security, pod.security
    non_root = of_pod.non_root if own.non_root is None else own.non_root
    user = NONROOT if non_root and own.user is None and of_pod.user is None else own.user
    add = tuple(name for name in own.add if name in security.DEFAULT_SET)
    return replace(container, security=replace(own, add=add, privileged=False, user=user))


def _built_in(container: Container, name: str) -> tuple[str, ...] | None:
    """The arguments of a built-in program; None if the container runs another program."""
    if name != "agnhost":
        return None if container.command else (("pause",) if name == "pause" else container.args)
    words = (*container.command, *container.args)
    if container.command and container.command[0].rpartition("/")[2] != "agnhost":
        return None
    words = words[1:] if container.command else words
    return (words or ("netexec",)) if not words or words[0] in AGNHOST else None


def _tool(container: Container, name: str) -> Container:
    if container.command:
        return container
    words = (*ENTRYPOINTS.get(name, ()), *container.args) or (("sleep", "infinity") if container.tty else ("sh",))
    return replace(container, command=words, args=())


def stand_in(container: Container, *, ends: bool) -> Container:
    """The container as a stand-in, which listens on its declared ports and those of its probes."""
    checks = (container.readiness, container.liveness, container.startup)
    ports = () if ends else tuple(dict.fromkeys((*container.ports, *_asked(container, checks))))
    readiness, liveness, startup = map(_asked_at_once, checks)
    played = replace(container, readiness=readiness, liveness=liveness, startup=startup, lifecycle=(), working_dir="/")
    dns = image_name(container.image) in NAME_SERVERS
    return replace(played, command=(), args=(), standin=StandIn(ports, ends=ends, dns=dns))


def _asked_at_once(check: HealthCheck | None) -> HealthCheck | None:
    """A probe that a stand-in can answer, without the first delay, which is for programs that start slowly.

    Of a probe in a protocol that it does not speak, what is left is whether the port is open.
    """
    if not check or check.kind == "exec":
        return None
    fields = {**check.fields(), "initial_delay": 0}
    if check.kind == "grpc" or check.scheme:
        fields |= {"kind": "tcpSocket", "scheme": "", "service": ""}
    return HealthCheck(**fields)


def _asked(container: Container, checks: Iterable[HealthCheck | None]) -> Iterator[ContainerPort]:
    """The ports of probes that the container does not declare."""
    known = {port.port for port in container.ports if port.protocol is Protocol.TCP}
    for check in checks:
        if check and check.kind != "exec" and isinstance(check.port, int) and check.port not in known:
            yield ContainerPort(check.port)


def stand_ins(pods: Iterable[Pod]) -> tuple[str, ...]:
    """The images that stand-ins replace, each once."""
    return tuple(dict.fromkeys(one.image for pod in pods for one in pod.every if one.standin))
