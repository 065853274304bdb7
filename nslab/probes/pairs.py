"""Probes between hosts: those of every pair, and the source addresses that the targets must see.

The rules are Kubernetes' own: every pod reaches every pod and every node without NAT, nodes reach pods, and machines
outside the cluster see a pod's packets with its node's address. A machine outside has no route to a pod's address.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.api.pod_types import Protocol
from nslab.compiler.addresses import address_of, host_used, networked, tunnel_address
from nslab.compiler.networks import network
from nslab.compiler.subnets import connected, encapsulated, reachable_from, subnet_of
from nslab.compiler.underlay import ETHERNET_MTU
from nslab.dataclass import dataclass, replace
from nslab.errors import UsageError
from nslab.objects import names
from nslab.probes.policies import EPHEMERAL, Enforced
from nslab.probes.probe import Expected, Kind, Probe, ProbeHost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.api.pod_types import Container, Pod
    from nslab.lab.types import Lab
    from nslab.objects.needs import HostFeatures

LOOPBACK = IPv4Address("127.0.0.1")
ALL_PAIRS = 32 * 31
"""Up to this number of pairs (32 hosts), each is probed; beyond it, a sample."""


@dataclass(frozen=True, slots=True)
class Survey:
    """The probes, their hosts, and the number of pairs out of all possible. `why`: why some hosts reach no others."""

    places: tuple[ProbeHost, ...]
    probes: tuple[Probe, ...]
    pairs: int
    possible: int
    why: str = ""

    @property
    def note(self) -> str:
        """A note that this is a sample; "" if it is not."""
        if self.pairs == self.possible:
            return ""
        return f"{self.pairs} of {self.possible} pairs: each host to two of every kind; --from and --to choose others"


def survey(lab: Lab, host: HostFeatures, sources: Sequence[str] = (), targets: Sequence[str] = ()) -> Survey:
    """All probes of the lab (its pods have addresses), or those from `sources` to `targets`."""
    hosts, sources, targets = places(lab), meant(lab, sources), meant(lab, targets)
    senders, receivers = ([one for one in hosts if among(one.name, wanted)] for wanted in (sources, targets))
    pairs = [(a, b) for a in senders for b in receivers if a != b]
    chosen = pairs if len(pairs) <= ALL_PAIRS else [(a, b) for a in senders for b in _sample(hosts, a, receivers)]
    local = [p for p in _pod_local(lab) if among(p.source, sources) and among(p.source, targets)]
    enforced = Enforced(lab)
    remote = [probe for a, b in chosen for probe in between(lab, host, a, b, enforced)]
    return Survey(hosts, (*local, *remote), len(chosen), len(pairs), _apart(lab))


def _apart(lab: Lab) -> str:
    """Why pods of two subnets cannot reach each other; "" if they can."""
    one_of_each = {subnet_of(lab, node.address): node for node in lab.nodes}.values()
    if all(connected(lab, one, other) for one in one_of_each for other in one_of_each):
        return ""
    without_bgp = [router.name for router in lab.routers if not router.bgp]
    have = "have" if len(without_bgp) > 1 else "has"
    return (
        f"between subnets, pods' packets are not encapsulated (encapsulation {lab.encapsulation}), and "
        f"{', '.join(without_bgp)} {have} no routes to pods"
    )


def places(lab: Lab, *, leaving: bool = False) -> tuple[ProbeHost, ...]:
    """Pods node by node, then nodes, then clients: the order of the matrix. A pod with hostNetwork is its node.

    `leaving`: with pods that terminate or have come to their end, who are asked nothing.
    """
    pods = [
        ProbeHost(names.pod_host(pod.namespace, pod.name), "pod", address_of(pod), node.name)
        for node in lab.nodes
        for pod in networked(lab, node)
        if leaving or not (pod.deletion or pod.finished)
    ]
    nodes = [ProbeHost(node.name, "node", node.address, node.name) for node in lab.nodes]
    return (*pods, *nodes, *(ProbeHost(client.name, "client", client.address) for client in lab.clients))


def between(lab: Lab, host: HostFeatures, source: ProbeHost, target: ProbeHost, enforced: Enforced) -> Iterator[Probe]:
    """The probes of one pair. What policies forbid must not arrive."""
    pair = (source.name, target.name, target.address)
    server = _server(lab, target)
    if target.role == "pod" and not has_way(lab, source, target):
        # A router on the path has no routes to pods. (Then probes of the MTU are pointless.)
        for kind in (Kind.ICMP, Kind.TCP, Kind.UDP):
            yield Probe(*pair, kind, expected=Expected.FAIL)
        return
    seen = seen_as(lab, host, source, target)
    denied = {
        kind: enforced.denial(source, target, kind.upper(), port or EPHEMERAL, seen)
        for kind, port in ((Kind.ICMP, 0), (Kind.TCP, server[0]), (Kind.UDP, 0))
    }
    for kind, why in denied.items():
        port, asks = server if kind is Kind.TCP else (0, False)
        probe = Probe(*pair, kind, port=port, asks=asks, expected_source=seen)
        yield replace(probe, expected=Expected.FAIL, denied=why) if why else probe
    mtu = path_mtu(lab, source, target)
    if mtu is None or denied[Kind.ICMP]:
        return
    yield Probe(*pair, Kind.MTU, size=mtu, expected_source=seen)
    yield Probe(*pair, Kind.MTU, size=mtu + 1, expected=Expected.FAIL)


def has_way(lab: Lab, source: ProbeHost, pod: ProbeHost) -> bool:
    """Whether packets from a host to a pod's own address arrive, and the replies come back."""
    nodes = {node.name: node for node in lab.nodes}
    if source.role == "client":
        return reachable_from(lab, source.address, nodes[pod.node])
    return connected(lab, nodes[source.node], nodes[pod.node])


def seen_as(lab: Lab, host: HostFeatures, source: ProbeHost, target: ProbeHost) -> IPv4Address | None:
    """The source address of packets from `source` that `target` sees; None: any."""
    same_node = source.node == target.node
    if source.role == "pod" and target.role != "pod" and not same_node:
        masquerades = network(lab).masquerades(target.role)
        if masquerades is None:
            return None
        # Traffic to the pod's own node does not leave the node, so nothing masquerades it.
        return next(node.address for node in lab.nodes if node.name == source.node) if masquerades else source.address
    if source.role == "node" and target.role == "pod":
        return _node_speaks_from(lab, host, source, target)
    return source.address


def path_mtu(lab: Lab, source: ProbeHost, target: ProbeHost) -> int | None:
    """The largest packet (bytes) that passes unfragmented; None if it depends on the network that the user builds."""
    return network(lab).mtu(lab) if "pod" in (source.role, target.role) else ETHERNET_MTU


def _node_speaks_from(lab: Lab, host: HostFeatures, source: ProbeHost, target: ProbeHost) -> IPv4Address | None:
    """The kernel uses the address of the route's interface as source."""
    nodes, same_node = {node.name: node for node in lab.nodes}, source.node == target.node
    node = nodes[source.node]
    tunnel = tunnel_address(lab, node)
    if tunnel and not same_node and encapsulated(lab, node, nodes[target.node]):
        return tunnel
    return network(lab).speaks_from(lab, host, node, same_node=same_node)


def _server(lab: Lab, target: ProbeHost) -> tuple[int, bool]:
    """A pod's first declared TCP port, and whether agnhost listens there; (0, False) if there is none."""
    if target.role == "pod":
        pod = next(pod for pod in lab.pods if names.pod_host(pod.namespace, pod.name) == target.name)
        return next(_servers(pod), (0, False))
    return 0, False


def _servers(pod: Pod) -> Iterator[tuple[int, bool]]:
    found: dict[int, bool] = {}
    for container in pod.containers:
        answers = (agnhost_port(container), *stand_in_ports(container))
        for declared in container.ports:
            if declared.protocol is Protocol.TCP:
                found[declared.port] = found.get(declared.port, False) or declared.port in answers
    yield from found.items()


def agnhost_port(container: Container, flag: str = "http-port", default: int = 8080) -> int:
    """The HTTP port of `agnhost netexec` (or the port of another flag); 0 for other programs."""
    if container.builtin != "agnhost" or (container.args and container.args[0] != "netexec"):
        return 0
    text = " ".join(container.args).replace(f"--{flag}=", f"--{flag} ").partition(f"--{flag} ")[2]
    port = text.split()[0] if text else str(default)
    known = port.isascii() and port.isdigit() and len(port) < 6
    return int(port) if known else 0  # -1 turns a server off


def stand_in_ports(container: Container, protocol: str = "TCP") -> tuple[int, ...]:
    """The ports on which a stand-in answers as agnhost does; none of other containers."""
    ports = container.standin.ports if container.standin and not container.standin.dns else ()
    return tuple(port.port for port in ports if port.protocol == protocol)


def _pod_local(lab: Lab) -> Iterator[Probe]:
    """Probes over the pod's loopback, which its containers share; only ports distinguish them."""
    for pod in (one for one in lab.pods if not (one.deletion or one.finished or one.host_network)):
        name = names.pod_host(pod.namespace, pod.name)
        for port, asks in _servers(pod):
            yield Probe(name, name, LOOPBACK, Kind.TCP, port=port, asks=asks, expected_source=LOOPBACK)


def _sample(everybody: Sequence[ProbeHost], source: ProbeHost, receivers: Sequence[ProbeHost]) -> Iterator[ProbeHost]:
    """Two targets of every kind (local and remote pods, own and other nodes, clients), different for each source."""
    turn = everybody.index(source)
    kinds: dict[tuple[str, bool], list[ProbeHost]] = {}
    for place in receivers:
        if place != source:
            kinds.setdefault((place.role, place.node == source.node), []).append(place)
    for group in kinds.values():
        first, second = turn % len(group), (turn + len(group) // 2) % len(group)
        yield from (group[at] for at in sorted({first, second}))


def meant(lab: Lab, words: Sequence[str]) -> tuple[str, ...]:
    """The hosts that people name, a pod as POD or NAMESPACE/POD; of one with hostNetwork, its node. Or UsageError."""
    known = sorted(place.name for place in places(lab))
    found = tuple(host_used(lab, names.host_of(word)) for word in words)
    for word, name in zip(words, found, strict=True):
        if name not in known:
            other = names.namesake(word, known)
            way_on = f"did you mean {other}?" if other else f"there are {', '.join(known)}"
            raise UsageError(f"no host {word} in this lab; {way_on}")
    return found


def among(name: str, wanted: Sequence[str]) -> bool:
    """Whether a host is one of those that are wanted; none are named if all are."""
    return not wanted or name in wanted
