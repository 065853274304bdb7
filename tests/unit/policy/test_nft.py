"""What Felix writes for nft: names, spellings, maps and sets; and what differs."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING

sys.path.insert(0, os.path.dirname(__file__))

from policy_world import cases, ends, recorded, view

from nslab.dataclass import replace
from nslab.policy import base, felix
from nslab.policy.change import commands
from nslab.policy.model import Cluster, FelixNode, NetworkPolicy, WorkloadEndpoint
from nslab.policy.nft_rule import nft_text
from nslab.policy.render import render
from nslab.policy.rule import FelixRule, clear_bits, has_any, in_set, jump, ports, protocol, put_bits

if TYPE_CHECKING:
    from nslab.ruletext.items import Items

NODE = FelixNode(
    "node1", ("192.168.59.22",), "tunl0", ("192.168.59.23",), announced=("10.96.0.0/12",), dataplane="nftables"
)
POD = WorkloadEndpoint("default", "web", "10.65.0.1", "node1", (("app", "web"),))
WEB = NetworkPolicy("default", "web", (), ())


def items(case: str = "", *gone: str) -> Items:
    policies = next((one.policies for one in cases() if one.name == case), [])
    pods = ends(recorded()["pods"], {})
    workloads = (
        WorkloadEndpoint(pod.namespace, name, pod.ip, "node1", tuple(pod.labels.items()))
        for name, pod in pods.items()
        if name not in gone
    )
    return felix.items(Cluster(tuple(map(view, policies)), tuple(workloads)), NODE)


def test_spellings() -> None:
    # As Felix's tests have them (felix/nftables/match_builder_test.go, actions_test.go).
    written = {
        FelixRule((protocol("tcp"), ports("80,8000:8080")), jump("ACCEPT")): (
            "meta l4proto tcp tcp dport { 80, 8000-8080 } counter accept"
        ),
        FelixRule((protocol("17"), ports("4789")), jump("DROP")): "meta l4proto 17 udp dport { 4789 } counter drop",
        FelixRule((in_set("cali40s:a", "src"),), jump("RETURN")): "ip saddr @cali40s-a counter return",
        FelixRule((in_set("cali40n:a", "dst,dst"),), jump("RETURN")): (
            "ip daddr . meta l4proto . th dport @cali40n-a counter return"
        ),
        FelixRule((has_any(0x30000),), jump("MASQUERADE --random-fully")): (
            "meta mark & 0x30000 != 0 counter masquerade fully-random"
        ),
        FelixRule((), clear_bits(0x1000)): "counter meta mark set mark & 0xffffefff",
        FelixRule((), put_bits(0x1000, 0xF000)): "counter meta mark set mark & 0xffff0fff ^ 0x1000",
        FelixRule(comment="Policy default/knp.default.web ingress"): "continue",
    }
    assert {rule: nft_text(rule) for rule in written} == written


def test_one_table_has_chains_in_the_places_of_all_of_iptables() -> None:
    found = felix.items(Cluster((WEB,), (POD,)), NODE)
    assert [item for item in found if item[0] == "nft-table"] == [("nft-table", "calico")]
    hooked = {item[2]: body[0] for item, body in found.items() if item[0] == "nft-chain" and body[0]}
    assert len(hooked) == 14
    assert hooked["nat-POSTROUTING"] == "type nat hook postrouting priority 110 ;"
    assert hooked["mangle-OUTPUT"] == "type route hook output priority -150 ;"
    first, *last = found["nft-chain", "calico", "filter-FORWARD"][1:]
    assert re.fullmatch(r'counter jump filter-cali-FORWARD comment "cali:.{16};"', first)
    assert [rule.split(" comment ")[0] for rule in last] == [
        "meta mark & 0x10000 == 0x10000 counter accept",
        "counter meta mark set mark or 0x10000",
    ]
    assert last[0].endswith('; Policy explicitly accepted packet."')
    chains = {f"{table}-{name}" for table, name, _ in base.chains(NODE)}
    assert chains <= {item[2] for item in found if item[0] == "nft-chain"}


def test_names_are_whole_and_pods_stand_in_maps() -> None:
    found = felix.items(Cluster((WEB,), (POD,)), NODE)
    policy = "filter-cali-pi-default/default/knp.default.web"
    assert re.fullmatch('continue comment "cali:.{16}; Policy .*"', found["nft-chain", "calico", policy][1])
    assert found["nft-map", "calico", "filter-cali-to-wl-dispatch"] == ("type ifname : verdict ;",)
    entry = ("nft-element", "calico", "filter-cali-to-wl-dispatch", f'"{POD.interface}"')
    assert found[entry] == ("", f"goto filter-cali-tw-{POD.interface}")
    look, drop = found["nft-chain", "calico", "filter-cali-to-wl-dispatch"][1:]
    assert look.startswith("oifname vmap @filter-cali-to-wl-dispatch comment ")
    assert drop.startswith("counter drop comment ")
    assert any(f"jump {policy} " in rule for rule in found["nft-chain", "calico", f"filter-cali-tw-{POD.interface}"])
    long = replace(WEB, name="w" * 250)
    names = {item[2] for item in felix.items(Cluster((long,), (POD,)), NODE) if item[0] == "nft-chain"}
    (hashed,) = (name for name in names if "-pi-" in name)
    assert re.fullmatch("filter-cali-pi-_[\\w-]{43}", hashed), "longer than the kernel's 255 characters"


def test_only_what_differs_is_written() -> None:
    before, after = items(), items("xa-pod-in-b")
    (come,) = commands(before, after, "iptables-nft")
    assert come.argv == ("nft", "-f", "-")
    lines = come.text.splitlines()
    (members,) = {line.split()[4] for line in lines if line.startswith("add set")}
    assert f"add element ip calico {members} {{ 10.65.0.2 }}" in lines
    assert {line.split()[4] for line in lines if line.startswith("add rule")} == {
        f"filter-cali-tw-{WorkloadEndpoint('x', 'xa').interface}",
        "filter-cali-pi-default/x/knp.default.p",
    }
    (gone,) = commands(after, before, "iptables-nft")
    assert f"delete set ip calico {members}" in gone.text.splitlines()
    (less,) = commands(after, items("xa-pod-in-b", "xb"), "iptables-nft")
    assert f"delete element ip calico {members} {{ 10.65.0.2 }}" in less.text.splitlines()


def test_without_knowing_what_is_there_another_table_takes_its_place() -> None:
    (command,) = commands({}, items(), "iptables-nft", anew=True)
    assert command.text.splitlines()[:3] == ["add table ip calico", "delete table ip calico", "add table ip calico"]


def test_it_goes_with_its_table_when_iptables_come_back() -> None:
    other = felix.items(Cluster(), replace(NODE, dataplane="iptables"))
    *_, last = commands(items(), other, "iptables-nft")
    assert last.text == "add table ip calico\ndelete table ip calico\n"


def test_it_is_rendered_for_nft() -> None:
    assert render(items()).splitlines()[:2] == ["# nft -f -", "add table ip calico"]
