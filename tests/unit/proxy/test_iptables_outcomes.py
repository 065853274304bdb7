"""What happens to a packet: iptables mode against the kube-proxy 1.20.2 of Debian, whose chains were others."""

from __future__ import annotations

import os
import sys
from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from cases import CASES, REAL, WORKER, case
from walker import Outcome, Packet, Ruleset

from nslab.proxy.names import port_hash, port_name
from nslab.proxy.render import render

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.proxy.model import ServiceInfo

NODE, OTHER_NODE = WORKER.addresses[0], "192.168.59.22"
POD_HERE, POD_THERE, CLIENT, ALLOWED = "20.111.156.250", "20.109.131.250", "198.18.0.7", "198.51.6.9"
NOBODY = 9
"""A port that nobody has."""

KUBELET = """
*nat
-A KUBE-MARK-DROP -j MARK --set-xmark 0x8000/0x8000
COMMIT
*filter
-A INPUT -j KUBE-FIREWALL
-A OUTPUT -j KUBE-FIREWALL
-A KUBE-FIREWALL -m comment --comment "kubernetes firewall for dropping marked packets" -m mark --mark 0x8000/0x8000 -j DROP
-A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
COMMIT
"""  # noqa: E501
"""Up to 1.27 dropping was kubelet's part, and no kubelet ran where the rules were taken down. It comes first."""


def ours(services: Iterable[ServiceInfo]) -> Ruleset:
    return Ruleset(render(services, WORKER), frozenset([NODE]))


def theirs(name: str) -> Ruleset:
    saved = (REAL / "v1.20" / "iptables" / name / "iptables-save").read_text()
    return Ruleset(KUBELET + saved, frozenset([NODE]))


def packets(services: list[ServiceInfo]) -> Iterator[Packet]:
    """From everybody to everything that has to do with these Services, by TCP and UDP."""
    ends = {end.ip: end.node for service in services for port in service.ports for end in port.endpoints}
    senders = {(ip, "cali0" if node == WORKER.node else "tunl0") for ip, node in ends.items()} | {
        (POD_HERE, "cali1"), (POD_THERE, "tunl0"), (NODE, ""), ("127.0.0.1", ""), (OTHER_NODE, "eth0"),
        (CLIENT, "eth0"), (ALLOWED, "eth0"),
    }  # fmt: skip
    for src, interface in sorted(senders):
        for dst, port in sorted(set(_destinations(services))):
            # The kernel takes 127.0.0.1 as a source for nothing but the node itself.
            if src != "127.0.0.1" or dst in ("127.0.0.1", NODE):
                yield from (Packet(src, dst, protocol, port, interface) for protocol in ("tcp", "udp"))


def _destinations(services: list[ServiceInfo]) -> Iterator[tuple[str, int]]:
    for service in services:
        for port in service.ports:
            numbers = [port.port, NOBODY, *([port.node_port] if port.node_port else [])]
            addresses = [service.cluster_ip, *service.external_ips, *service.load_balancer_ips]
            yield from ((ip, number) for ip in addresses if ip for number in numbers)
            yield from ((ip, number) for ip in (NODE, "127.0.0.1", OTHER_NODE) for number in numbers)
            yield from ((end.ip, end.port) for end in port.endpoints)


def differences(name: str) -> dict[Packet, tuple[dict[Outcome, Fraction], dict[Outcome, Fraction]]]:
    """The packets that fare otherwise: with us, and with them."""
    services, mine, real = case(name), ours(case(name)), theirs(name)
    found = {packet: (mine.outcomes(packet), real.outcomes(packet)) for packet in packets(services)}
    assert len(found) > 100
    return {packet: both for packet, both in found.items() if both[0] != both[1]}


OUT_OF_RANGE = {
    Packet(src, "203.0.113.91", "tcp", 8080, interface): (
        {Outcome("", False, "DROP"): Fraction(1)},
        {Outcome("", True, "ACCEPT"): Fraction(1)},
    )
    for src, interface in (
        ("20.111.156.218", "cali0"), ("20.109.131.149", "tunl0"), (POD_HERE, "cali1"), (POD_THERE, "tunl0"),
        (OTHER_NODE, "eth0"), (CLIENT, "eth0"),
    )
}  # fmt: skip
TO_EXTERNAL = {
    Packet(NODE, "203.0.113.250", "tcp", 8080, ""): (
        {
            Outcome("20.111.156.192:8402", True, "policy"): Fraction(1, 2),
            Outcome("20.109.131.206:8402", True, "policy"): Fraction(1, 2),
        },
        {Outcome("", True, "policy"): Fraction(1)},
    )
}
KNOWN = {
    # Since 1.21 the node's own packets to an external address that is not its own are balanced like everybody's:
    # https://github.com/kubernetes/kubernetes/pull/96296. Before, they left masqueraded, for somebody else to handle.
    "external-ip": TO_EXTERNAL,
    # Since 1.25 kube-proxy drops what is out of range itself, in INPUT, FORWARD and OUTPUT:
    # https://github.com/kubernetes/kubernetes/pull/110289. kubelet's KUBE-FIREWALL stood in INPUT and OUTPUT only, so
    # a packet for an address that the node does not have was marked to be dropped, and passed on.
    "loadbalancer-source-ranges": OUT_OF_RANGE,
}
"""All packets that fare otherwise today, with reason and source."""


@pytest.mark.parametrize("name", CASES)
def test_outcomes_are_those_of_the_real_one(name: str) -> None:
    assert differences(name) == KNOWN.get(name, {})


@pytest.mark.parametrize("name", ["session-affinity", "nodeport-affinity-local"])
def test_who_was_there_before_comes_to_the_same_endpoint(name: str) -> None:
    (service,) = case(name)
    (port,) = service.ports
    mine, real = ours([service]), theirs(name)
    sure = Counter[str]()
    for chain in _recent(name):
        for packet in packets([service]):
            back = Packet(**{**vars(packet), "seen": frozenset([chain])})
            assert mine.outcomes(back) == real.outcomes(back)
            if (packet.dst, packet.port, packet.protocol) == (service.cluster_ip, port.port, "tcp"):
                sure.update(outcome.target for outcome, chance in mine.outcomes(back).items() if chance == 1)
    assert {*sure} == {f"{end.ip}:{end.port}" for end in port.endpoints}


def _recent(name: str) -> list[str]:
    """The names of the lists that the real one keeps."""
    words = (REAL / "v1.20" / "iptables" / name / "iptables-save").read_text().split()
    return sorted({words[place + 1] for place, word in enumerate(words) if word == "--name"})


@pytest.mark.parametrize("name", ["nodeport-local", "loadbalancer-source-ranges"])
def test_the_comparison_sees_every_rule_that_is_missing(name: str) -> None:
    """Take any rule of the Service's away, and some packet fares otherwise."""
    services = case(name)
    lines = render(services, WORKER).splitlines()
    whole, sent = ours(services), list(packets(services))
    before = {packet: whole.outcomes(packet) for packet in sent}
    (service,) = services
    (port,) = service.ports
    whose = (service.key, port_hash(port_name(service, port), "tcp"))
    rules = [
        line for line in lines if line.startswith("-A ") and " -j " in line and any(word in line for word in whose)
    ]
    assert len(rules) > 10
    for rule in rules:
        without = Ruleset("\n".join(line for line in lines if line != rule), frozenset([NODE]))
        assert any(without.outcomes(packet) != before[packet] for packet in sent), rule
