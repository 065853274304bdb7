"""The evaluator against the tests' own walker of rules: the same outcomes with the same chances.

For every Service of every shipped lab on every node, from a pod here and there, from the node and from a client, to its
ClusterIP, its NodePort and its external addresses; and for all packets of what real kube-proxies wrote.
"""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), "proxy"))

import test_iptables_outcomes as real
import walker
from ask import Way
from cases import CASES, WORKER, case

from nslab.admission.load import load
from nslab.compiler.addresses import address_of
from nslab.compiler.placement import assign_addresses
from nslab.compiler.services import proxy_of, resolve, seen
from nslab.dataclass import replace
from nslab.lab.addons import with_api_service
from nslab.lab.find import find, names
from nslab.objects.needs import FULL
from nslab.proxy import ipvs
from nslab.proxy.mode import whole
from nslab.proxy.render import render
from nslab.ruletext.iptables import saved_text
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.packet import Addresses, HookPacket, Verdict
from nslab.trace.rules.ruleset import read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.lab.types import Lab, Node
    from nslab.proxy.model import Proxy, ServiceInfo
    from nslab.ruletext.items import Items

NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}
CLIENT, HOP = "198.18.0.7", "eth0"


def asked(packet: walker.Packet) -> HookPacket:
    """The walker's packet as ours."""
    return HookPacket(
        IPv4Address(packet.src),
        IPv4Address(packet.dst),
        NUMBERS[packet.protocol],
        40000,
        packet.port,
        iif=packet.interface,
        recent=packet.seen,
    )


def ours(way: Way, packet: walker.Packet) -> dict[walker.Outcome, Fraction]:
    """Our outcomes in the walker's words."""
    found: dict[walker.Outcome, Fraction] = {}
    for end, chance in way.outcomes(asked(packet)).items():
        passed = end.verdict is Verdict.ACCEPT
        target = "" if not passed or end.destination == f"{packet.dst}:{packet.port}" else end.destination
        key = walker.Outcome(target, passed and end.masqueraded, "" if passed else str(end.verdict))
        found[key] = found.get(key, Fraction(0)) + chance
    return found


def theirs(ruleset: walker.Ruleset, packet: walker.Packet) -> dict[walker.Outcome, Fraction]:
    """The walker's, which tells apart who accepted: a rule, or nobody (`policy`)."""
    found: dict[walker.Outcome, Fraction] = {}
    for end, chance in ruleset.outcomes(packet).items():
        passed = end.verdict in ("", "ACCEPT", walker.POLICY)
        same = end.target == f"{packet.dst}:{packet.port}"
        key = end._replace(verdict="", target="" if same else end.target) if passed else end
        found[key] = found.get(key, Fraction(0)) + chance
    return found


def node(addresses: tuple[str, ...]) -> Addresses:
    return Addresses({IPv4Address(address): HOP for address in addresses})


def placed(name: str) -> tuple[Lab, tuple[ServiceInfo, ...]]:
    lab = assign_addresses(load(find(name)))
    return lab, seen(resolve(with_api_service(lab)))


def proxies(lab: Lab, resolved: tuple[ServiceInfo, ...], mode: str) -> Iterator[tuple[Node, Proxy]]:
    for own in lab.nodes:
        yield own, replace(proxy_of(lab, own, FULL, resolved), mode=mode)


def packets(lab: Lab, resolved: tuple[ServiceInfo, ...], own: Node) -> Iterator[walker.Packet]:
    """From pods, the node and a client to all addresses of all Services."""
    senders = {
        *[(str(address_of(pod)), "cali1" if pod.node == own.name else HOP) for pod in lab.pods if pod.assigned],
        (str(own.address), ""), ("127.0.0.1", ""), (CLIENT, HOP),
    }  # fmt: skip
    for service in resolved:
        for port in service.ports:
            ends = [(ip, port.port) for ip in (service.cluster_ip, *service.external_ips, *service.load_balancer_ips)]
            ends += [(str(address), port.node_port) for address in (own.address, "127.0.0.1") if port.node_port]
            for dst, number in ends:
                for src, interface in sorted(senders):
                    if dst and (dst != "127.0.0.1" or src == "127.0.0.1"):
                        yield walker.Packet(src, dst, port.protocol.lower(), number, interface)


@pytest.mark.parametrize("name", names())
def test_every_service_of_a_shipped_lab(name: str) -> None:
    lab, resolved = placed(name)
    for own, proxy in proxies(lab, resolved, "iptables"):
        text = render(resolved, proxy)
        way, oracle = Way(read(text), node(proxy.addresses)), walker.Ruleset(text, frozenset(proxy.addresses))
        for packet in packets(lab, resolved, own):
            assert ours(way, packet) == theirs(oracle, packet), packet


@pytest.mark.parametrize("name", names())
def test_ipvs_mode_masquerades_the_same_connections(name: str) -> None:
    """There the marks and sets decide, and IPVS takes the endpoint: its rules leave the destination as it is."""
    lab, resolved = placed(name)
    for (own, proxy), (_, same) in zip(proxies(lab, resolved, "ipvs"), proxies(lab, resolved, "iptables"), strict=True):
        items = whole(ipvs, resolved, proxy)
        ruleset, local = read(saved_text(items), ipset_text(items)), node((*proxy.addresses, *on_dummy(items)))
        oracle = walker.Ruleset(render(resolved, same), frozenset(proxy.addresses))
        # An endpoint that comes to itself is known to the loop-back set in POSTROUTING alone.
        ends = {end.ip for service in resolved for port in service.ports for end in port.endpoints}
        for packet in packets(lab, inside(resolved), own):
            (end,) = evaluate(ruleset, asked(packet), "PREROUTING" if packet.interface else "OUTPUT", local)
            assert not end.doubts
            expected = {found.masqueraded for found in oracle.outcomes(packet) if found.verdict in ("ACCEPT", "policy")}
            if expected and packet.src not in (*ends, "127.0.0.1"):
                assert {bool(end.packet.mark & 0x4000)} == expected, packet


def inside(resolved: tuple[ServiceInfo, ...]) -> tuple[ServiceInfo, ...]:
    """The Services as far as the modes agree about the node's own packets: those to external addresses iptables mode
    balances since 1.21, those to a NodePort with the policy Local it masquerades."""
    return tuple(
        replace(service, external_ips=(), load_balancer_ips=()) for service in resolved if not service.external_local
    )


def ipset_text(items: Items) -> str:
    sets = [f"create {item[1]} {body[0]} {body[1]}".rstrip() for item, body in items.items() if item[0] == "ipset"]
    return "\n".join([*sets, *(f"add {item[1]} {item[2]}" for item in items if item[0] == "member"), ""])


def on_dummy(items: Items) -> list[str]:
    return [item[2].removesuffix("/32") for item in items if item[0] == "address"]


@pytest.mark.parametrize("name", CASES)
def test_what_a_real_kube_proxy_wrote(name: str) -> None:
    kubelet = real.KUBELET.replace("*filter\n", "*filter\n:KUBE-FIREWALL - [0:0]\n")
    text = kubelet + (real.REAL / "v1.20" / "iptables" / name / "iptables-save").read_text()
    for saved in (text, render(case(name), WORKER)):
        way, oracle = Way(read(saved), node((real.NODE,))), walker.Ruleset(saved, frozenset([real.NODE]))
        for packet in real.packets(case(name)):
            assert ours(way, packet) == theirs(oracle, packet), packet


@pytest.mark.parametrize("name", ["session-affinity", "nodeport-affinity-local"])
def test_a_client_who_was_there_before(name: str) -> None:
    text = render(case(name), WORKER)
    way, oracle = Way(read(text), node((real.NODE,))), walker.Ruleset(text, frozenset([real.NODE]))
    known: dict[Any, int] = {}
    for word in {word for word in text.split() if word.startswith("KUBE-SEP-")}:
        for packet in [*real.packets(case(name))][::5]:
            again = walker.Packet(**{**vars(packet), "seen": frozenset([word])})
            assert ours(way, again) == theirs(oracle, again), again
            known[word] = known.get(word, 0) + (ours(way, again) != ours(way, packet))
    assert known
    assert any(known.values())
