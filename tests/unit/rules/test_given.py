"""Whole rulesets: Calico's policies, and all that kube-proxies wrote, without anything unknown."""

from __future__ import annotations

import os
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), "proxy"))

import walker
from ask import Way
from cases import TEST_NODE, overall
from test_oracle import ours, theirs

from nslab.proxy.render import render
from nslab.ruletext.saved import tables
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.ipsets import ipsets
from nslab.trace.rules.iptables import IptablesTable
from nslab.trace.rules.nft import NftRules
from nslab.trace.rules.nft_dump import listing, nft_tables
from nslab.trace.rules.packet import Addresses, HookPacket, Verdict
from nslab.trace.rules.ruleset import read
from nslab.trace.rules.turn import At

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.trace.rules.turn import Rule

DATA = Path(__file__).parents[2] / "data"
POLICY = (DATA / "rules" / "calico-policy.rules").read_text()
SETS = (DATA / "rules" / "calico-policy.sets").read_text()
OVERALL = (DATA / "rules" / "kube-proxy-overall.nft.json").read_text()
"""What nft 1.0.6 lists of tests/data/kube-proxy/current/overall.nft."""
WROTE = sorted((DATA / "kube-proxy" / "v1.20").glob("*/*/iptables-save"))

POD_A, POD_B = "cali68caf03a5f4", "calia7a3e029a7b"
OUT = {"source": "10.65.0.1", "destination": "10.65.1.1", "iif": POD_A, "oif": "tunl0"}
NODE = Addresses(
    {IPv4Address("192.168.59.22"): "eth0", IPv4Address("10.65.0.64"): "tunl0"},
    routes=lambda address, _mark: ("tunl0",) if str(address).startswith("10.65.1.") else (POD_A,),
)
ASKED = [
    HookPacket(IPv4Address("10.65.0.2"), IPv4Address("10.65.0.1"), protocol, 5000, 8080, iif=iif, oif=oif, mark=mark)
    for protocol in (1, 4, 6, 17)
    for iif, oif in ((POD_A, POD_B), ("eth0", ""), ("", "eth0"))
    for mark in (0, 0x10000, 0x80000)
]


def iptables_rules(saved: str, sets: str = "") -> Iterator[Rule]:
    for table, dumped in tables(saved).items():
        own = IptablesTable(table, dumped, ipsets(sets))
        for name, chain in dumped.items():
            found = own.chain(name)
            assert found
            yield from (found.rule(position) for position in range(len(chain.rules)))


def doubts(rules: Iterator[Rule]) -> tuple[int, set[str]]:
    """The number of rules, and all that is unknown of any of them for any packet."""
    found, every = set[str](), [*rules]
    for rule in every:
        for packet in ASKED:
            found.update(name for turn in rule.turns(packet, At("PREROUTING", True, NODE)) for name in turn.doubts)
    return len(every), found


def test_calicos_policies_are_understood() -> None:
    assert doubts(iptables_rules(POLICY, SETS)) == (114, set())


@pytest.mark.parametrize("path", WROTE, ids=lambda path: f"{path.parts[-3]}/{path.parts[-2]}")
def test_what_a_real_kube_proxy_wrote_is_understood(path: Path) -> None:
    sets = path.with_name("ipset-save")
    saved = path.read_text()
    for number in range(9):
        saved = saved.replace(f"PROXYPORT{number}", f"4000{number}")
    number, unknown = doubts(iptables_rules(saved, sets.read_text() if sets.exists() else ""))
    assert number > 2
    assert unknown == set()


def test_the_current_rules_are_understood() -> None:
    assert doubts(iptables_rules((DATA / "kube-proxy" / "current" / "overall.iptables").read_text())) == (65, set())
    ((table,), _) = nft_tables(listing(OVERALL), ())
    chains = [(NftRules(table, name, {}), len(chain.rules)) for name, chain in table.chains.items()]
    assert doubts(chain.rule(position) for chain, count in chains for position in range(count)) == (57, set())


def test_nftables_mode_does_what_iptables_mode_does() -> None:
    """The same Services of upstream's test: its rules for nft, and the walker on those for iptables."""
    local = Addresses({IPv4Address(address): "eth0" for address in TEST_NODE.addresses})
    way, text = Way(read(nft=OVERALL), local), render(overall(), TEST_NODE)
    oracle = walker.Ruleset(text, frozenset(TEST_NODE.addresses))
    number = 0
    for packet in packets():
        assert ours(way, packet) == theirs(oracle, packet), packet
        number += 1
    assert number > 50


def packets() -> Iterator[walker.Packet]:
    node = TEST_NODE.addresses[0]
    for service in overall():
        for port in service.ports:
            addresses = (service.cluster_ip, *service.external_ips, *service.load_balancer_ips)
            to = [(address, port.port) for address in addresses] + [(node, port.node_port)] * bool(port.node_port)
            senders = [("203.0.113.9", "eth0"), ("198.51.100.9", "eth0"), ("10.180.9.9", "veth1"), (node, "")]
            senders += [(end.ip, "veth2") for end in port.endpoints]
            for address, number in to:
                for source, interface in senders:
                    yield walker.Packet(source, address, port.protocol.lower(), number, interface)


@pytest.mark.parametrize(
    ("changes", "verdict", "chain"),
    [
        ({}, Verdict.ACCEPT, "FORWARD"),
        ({"destination_port": 8081}, Verdict.DROP, "cali-tw-cali68caf03a5f4"),
        ({"source": "10.65.0.3"}, Verdict.DROP, "cali-tw-cali68caf03a5f4"),
        ({"destination_port": 8081, "state": "ESTABLISHED"}, Verdict.ACCEPT, "cali-fw-calia7a3e029a7b"),
        ({"state": "INVALID"}, Verdict.DROP, "cali-fw-calia7a3e029a7b"),
        ({"protocol": 4}, Verdict.DROP, "cali-fw-calia7a3e029a7b"),
        ({"iif": "califfffffffff"}, Verdict.DROP, "cali-from-wl-dispatch"),
        (OUT, Verdict.DROP, "cali-fw-cali68caf03a5f4"),
        ({**OUT, "destination_port": 53}, Verdict.ACCEPT, "FORWARD"),
    ],
)  # fmt: skip
def test_a_policy_decides(changes: dict[str, Any], verdict: Verdict, chain: str) -> None:
    """Pod 10.65.0.1 takes 8080 from 10.65.0.2 alone, and may ask 10.65.1.1 for names alone."""
    fields = {"source": "10.65.0.2", "destination": "10.65.0.1", "iif": POD_B, "oif": POD_A, **changes}
    fields |= {name: IPv4Address(fields[name]) for name in ("source", "destination")}
    packet = HookPacket(**{"source_port": 40000, "destination_port": 8080, **fields})
    (end,) = evaluate(read(POLICY, SETS), packet, "FORWARD", NODE)
    decided = [step for step in end.steps if step.number][-1]
    assert (end.verdict, decided.chain, end.chance) == (verdict, chain, 1)
    assert decided.comment.startswith("cali:")


def test_a_forged_source_is_dropped_before_routing() -> None:
    forged = HookPacket(IPv4Address("10.65.1.9"), IPv4Address("10.65.0.1"), iif=POD_A)
    (end,) = evaluate(read(POLICY, SETS), forged, "PREROUTING", NODE)
    assert end.verdict is Verdict.DROP
    assert "-m rpfilter --invert" in end.steps[-1].rule


def test_pods_are_masqueraded_outside_of_the_pool() -> None:
    for destination, masquerade in (("198.51.100.7", True), ("10.65.1.9", False)):
        packet = HookPacket(IPv4Address("10.65.0.1"), IPv4Address(destination), iif=POD_A, oif="eth0")
        (end,) = evaluate(read(POLICY, SETS), packet, "POSTROUTING", NODE)
        assert end.packet.masquerade is masquerade
