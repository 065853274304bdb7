"""A State's rules evaluated: every lab in the modes with rules, and nft's rules as text against nft's own listing."""

from __future__ import annotations

import json
import os
import sys
from ipaddress import IPv4Address
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(__file__)), "proxy"))

import walker
from ask import Way
from cases import TEST_NODE, overall
from test_given import OVERALL
from test_oracle import node, ours, packets, placed, proxies, theirs

from nslab.admission.load import load
from nslab.compiler import compile_lab
from nslab.compiler.items import objects
from nslab.compiler.placement import assign_addresses
from nslab.dataclass import replace
from nslab.lab.find import find, names
from nslab.lab.types import ProxyMode
from nslab.objects.chain_policy import ChainPolicy
from nslab.objects.names import netns
from nslab.objects.needs import FULL
from nslab.proxy import nftables
from nslab.proxy.mode import whole
from nslab.proxy.render import render
from nslab.trace.rules.evaluate import evaluate
from nslab.trace.rules.from_state import node_addresses, node_rules
from nslab.trace.rules.nft_dump import listing
from nslab.trace.rules.nft_text import rule_text
from nslab.trace.rules.packet import HookPacket, Verdict
from nslab.trace.rules.ruleset import read
from nslab.trace.topology import topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.trace.rules.packet import HookOutcome

STATEMENTS = Path(__file__).parents[2] / "data" / "rules" / "statements.nft.json"


@pytest.mark.parametrize("name", names())
def test_nftables_mode_takes_the_walkers_endpoints(name: str) -> None:
    """Both modes do the same with a Service's own packets; the walker reads iptables mode's rules."""
    lab, resolved = placed(name)
    for (own, proxy), (_, same) in zip(
        proxies(lab, resolved, "nftables"), proxies(lab, resolved, "iptables"), strict=True
    ):
        local = node(proxy.addresses)
        way = Way(node_rules(objects("n", {"kube-proxy": whole(nftables, resolved, proxy)})), local)
        oracle = walker.Ruleset(render(resolved, same), frozenset(proxy.addresses))
        for packet in packets(lab, resolved, own):
            # kube-proxy's default for nftables: NodePorts on the node's own address alone.
            if packet.dst != "127.0.0.1" and (packet.dst != str(own.address) or packet.src != "127.0.0.1"):
                assert ours(way, packet) == theirs(oracle, packet), packet


def test_rules_as_text_do_what_nfts_listing_of_them_does() -> None:
    local, proxy = node(TEST_NODE.addresses), replace(TEST_NODE, service_cidr="172.30.0.0/16")
    both = node_rules(objects("n", {"kube-proxy": whole(nftables, overall(), proxy)})), read(nft=OVERALL)
    for packet in asked():
        for hook in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"):
            written, listed = ([*map(told, evaluate(ruleset, packet, hook, local))] for ruleset in both)
            assert written == listed, (packet, hook)


def asked() -> Iterator[HookPacket]:
    destinations = ("172.30.0.41", "172.30.0.45", "172.30.0.46", "172.30.9.9", "192.168.0.2", "5.6.7.8", "1.2.3.4")
    for source, destination in product(("10.180.0.1", "203.0.113.9", "192.168.0.2"), destinations):
        for protocol, port, iif, mark in product((1, 6, 17), (80, 3001, 3002), ("eth0", ""), (0, 0x4000)):
            ends = IPv4Address(source), IPv4Address(destination)
            yield HookPacket(*ends, protocol, 5000, port, iif=iif, oif="eth1", mark=mark)


def told(end: HookOutcome) -> tuple[object, ...]:
    """An outcome without its rules' texts, which nft words otherwise."""
    return end.verdict, end.packet, end.chance, [(step.chain, step.number, step.result) for step in end.steps]


@pytest.mark.parametrize("mode", ["iptables", "ipvs", "nftables", "userspace", "none"])
@pytest.mark.parametrize("name", names())
def test_nothing_in_a_lab_is_unknown(name: str, mode: str) -> None:
    """Whole States: Calico's and kubenet's rules, too."""
    lab = assign_addresses(replace(load(find(name)), proxy_mode=ProxyMode(mode)))
    state = compile_lab(lab, FULL)
    net = topology(state)
    for own in lab.nodes:
        ns = netns(lab.name, own.name)
        ruleset, local = node_rules(obj for obj in state if obj.ns == ns), node_addresses(net, ns)
        for pod in lab.pods:
            for service in lab.services:
                packet = HookPacket(
                    pod.assigned, service.cluster_ip or own.address, 6, 5000, 80, iif="eth0", oif="eth0"
                )
                for hook in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"):
                    for end in evaluate(ruleset, packet, hook, local):
                        assert end.doubts == (), end


def test_a_nodes_addresses_and_routes() -> None:
    lab = assign_addresses(load(find("calico-two-node")))
    net = topology(compile_lab(lab, FULL))
    first, second = lab.nodes[:2]
    local = node_addresses(net, netns(lab.name, first.name))
    assert local.kind(first.address) == "LOCAL"
    assert local.kind(first.address, "lo") == "UNICAST"
    assert local.kind(second.address) == "UNICAST"
    assert local.routes
    assert [*local.routes(second.address, 0)] == ["eth0"]
    pod = next(pod for pod in lab.pods if pod.node == second.name and pod.assigned)
    assert pod.assigned
    assert [*local.routes(pod.assigned, 0)] == ["tunl0"]


def test_a_policy_that_somebody_set() -> None:
    (end,) = evaluate(
        node_rules([ChainPolicy("n", "filter", "FORWARD", "DROP")]),
        HookPacket(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), iif="a", oif="b"),
        "FORWARD",
        node(("10.0.0.9",)),
    )
    assert (end.verdict, end.steps[-1].rule) == (Verdict.DROP, "policy DROP")


def test_the_text_of_a_rule_is_what_was_typed() -> None:
    rules = [one["rule"] for one in listing(STATEMENTS.read_text()) if "comment" in one.get("rule", {})]
    shown = {rule["comment"]: rule_text(rule["expr"]) for rule in rules}
    same = {text for text, found in shown.items() if plain(text) == plain(found)}
    assert len(same) > len(shown) / 2
    assert (
        shown["ip daddr . meta l4proto . th dport @flows accept"] == "ip daddr . meta l4proto . th dport @flows accept"
    )
    assert shown["dnat ip addr . port to tcp dport map @to"] == "dnat to tcp dport map @to"
    assert shown["numgen random mod 4 vmap { 0 : drop }"] == "numgen random mod 4 vmap { 0 : drop }"
    assert shown["reject with icmp type host-unreachable"] == "reject with icmp host-unreachable"
    assert json.loads(shown["synproxy mss 1460"].removeprefix("synproxy ")) == {"mss": 1460}


def test_marks_are_written_as_nft_writes_them() -> None:
    mark = {"meta": {"key": "mark"}}
    masked = {"match": {"op": "==", "left": {"&": [mark, 0x10000]}, "right": 0x10000}}
    assert rule_text([masked]) == "meta mark & 0x00010000 == 0x00010000"
    assert (
        rule_text([{"mangle": {"key": mark, "value": {"|": [mark, 0x80000]}}}])
        == "meta mark set meta mark | 0x00080000"
    )
    assert rule_text([{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": "new"}}]) == "ct state new"


def plain(text: str) -> str:
    return text.replace(" ip to", " to").replace("==", "").replace(" ", "").replace("ip", "")
