"""The rules that differ, as commands with a sign."""

from __future__ import annotations

from ipaddress import IPv4Network

from nslab.objects.ipset import IpSet
from nslab.objects.iptables import Chain, Jump
from nslab.objects.plan import Add, Remove, Replace
from nslab.objects.routes import Route
from nslab.views.rules import differing_rules

NS = "nslab.mine.node1"
WEB = Chain(NS, "nat", "KUBE-SVC-A", ("-s 10.0.0.1/32 -j RETURN", '-m comment --comment "a b" -j KUBE-SEP-A'))


def test_what_is_missing_and_what_is_extra() -> None:
    drop = Chain(NS, "nat", "KUBE-SVC-A", ("-j DROP", WEB.rules[1]))
    jump = Jump(NS, "filter", "FORWARD", "-j KUBE-FORWARD")
    assert differing_rules((Replace(drop, WEB), Add(jump), Remove(Chain(NS, "nat", "OLD", ())))) == {
        "node1": [
            "- iptables -t nat -A KUBE-SVC-A -s 10.0.0.1/32 -j RETURN",
            "+ iptables -t nat -A KUBE-SVC-A -j DROP",
            "- iptables -t filter -I FORWARD 1 -j KUBE-FORWARD",
            "+ iptables -t nat -N OLD",
        ]
    }


def test_an_order_differs_too() -> None:
    (lines,) = differing_rules((Replace(Chain(NS, "nat", "KUBE-SVC-A", WEB.rules[::-1]), WEB),)).values()
    assert sorted(line[0] for line in lines) == ["+", "-"]


def test_what_is_no_rule_is_left_to_the_difference() -> None:
    assert differing_rules((Add(Route(NS, IPv4Network("10.0.0.0/24"), "eth0")),)) == {}


def test_sets_are_rules_too() -> None:
    assert list(differing_rules((Add(IpSet(NS, "KUBE-LOOP-BACK", "hash:ip,port,ip")),))) == ["node1"]
