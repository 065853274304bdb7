"""What a change did in the kernel: hosts alike under one heading, what went first, of many the first few."""

from __future__ import annotations

from ipaddress import IPv4Network

from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain, Jump
from nslab.objects.namespaces import Netns
from nslab.objects.plan import Add, Plan, Remove, Replace
from nslab.objects.process import KubeProxy
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl
from nslab.views.delta import delta

N1, N2 = "nslab.x.n1", "nslab.x.n2"


def chains(ns: str, *names: str) -> list[Chain]:
    return [Chain(ns, "nat", name, ()) for name in names]


def test_nothing() -> None:
    assert delta(()) == []


def test_what_went_what_changed_and_what_came() -> None:
    route = Route(N1, IPv4Network("20.96.2.0/24"), "eth0")
    plan: Plan = (
        *map(Add, chains(N1, "A", "B")),
        Replace(route, route),
        Remove(Jump(N1, "nat", "OUTPUT", '-m comment --comment "x" -j KUBE-SERVICES')),
        Add(Sysctl(N1, "net/ipv4/ip_forward", "1", "0")),
        Add(KubeProxy(N1, N1, "{}")),
    )
    assert delta(plan) == [
        "n1:",
        "  - rules in nat's built-in chains: OUTPUT KUBE-SERVICES",
        "  ~ route to 20.96.2.0/24",
        "  + 2 chains in table nat: A, B",
        "  + settings: net.ipv4.ip_forward=1",
        "  + processes: kube-proxy process",
    ]


def test_of_many_the_first_three() -> None:
    assert delta(tuple(map(Add, chains(N1, *"ABC")))) == ["n1:", "  + 3 chains in table nat: A, B, C"]
    assert delta(tuple(map(Add, chains(N1, *"ABCD")))) == ["n1:", "  + 4 chains in table nat: A, B, C, …"]


def test_hosts_alike_are_told_together() -> None:
    plan = (*map(Add, chains(N1, "A")), *map(Add, chains(N2, "A")), Add(Netns("nslab.x.p")))
    assert delta(plan) == ["n1, n2:", "  + chains in table nat: A", "p:", "  + namespace"]


def test_what_goes_with_something_that_is_named_is_not() -> None:
    members = [SetMember(N1, "S", "10.0.0.1"), SetMember(N1, "T", "10.0.0.2")]
    assert delta((*map(Remove, members), Remove(IpSet(N1, "S", "hash:net")))) == [
        "n1:", "  - members of ipsets: T 10.0.0.2", "  - ipsets: S",
    ]  # fmt: skip
    assert delta((Add(IpSet(N1, "S", "hash:net")), Add(members[0]))) == [
        "n1:", "  + ipsets: S", "  + members of ipsets: S 10.0.0.1",
    ]  # fmt: skip
