"""nftables: what a person types, what one transaction says, what a listing says, what the fake kernel refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.errors import Refused
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.namespaces import Netns
from nslab.objects.nft import NftChain, NftElement, NftSet, NftTable
from nslab.objects.nft_commands import nft_restore
from nslab.objects.nft_listing import Block, element_found, nft_found
from nslab.objects.plan import Add, Plan, Remove, Replace, Step, diff, invert, transactions
from nslab.objects.script import commands

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject

NS = "nslab.t.n1"
TABLE = NftTable(NS, "kube-proxy", "rules for kube-proxy")
IPS = NftSet(NS, "kube-proxy", "cluster-ips", 'type ipv4_addr ; comment "Active ClusterIPs" ;')
MAP = NftSet(NS, "kube-proxy", "service-ips", "type ipv4_addr . inet_proto . inet_service : verdict ;", map=True)
STICKY = NftSet(NS, "kube-proxy", "affinity-A", "type ipv4_addr ; flags dynamic,timeout ; timeout 60s ;")
ENDPOINT = NftChain(
    NS, "kube-proxy", "endpoint-A", "", ("update @affinity-A { ip saddr }", "meta l4proto tcp dnat to 10.1.0.7:80")
)
SERVICE = NftChain(NS, "kube-proxy", "service-A", "", ("numgen random mod 1 vmap { 0 : goto endpoint-A }",))
HOOK = NftChain(
    NS,
    "kube-proxy",
    "nat-output",
    "type nat hook output priority -100 ;",
    ("ip daddr . meta l4proto . th dport vmap @service-ips",),
)
IP = NftElement(NS, "kube-proxy", "cluster-ips", "10.96.0.1")
WAY = NftElement(NS, "kube-proxy", "service-ips", "10.96.0.1 . tcp . 80", "goto service-A")
STATE: tuple[KernelObject, ...] = (Netns(NS), TABLE, IPS, MAP, STICKY, ENDPOINT, SERVICE, HOOK, IP, WAY)


def typed(step: Step) -> list[str]:
    """The commands of a step, without the way into the namespace."""
    return [line.removeprefix(f"ip netns exec {NS} ") for line in commands(step)]


@pytest.mark.parametrize(
    ("step", "output"),
    [
        (Add(TABLE), ["nft add table ip kube-proxy '{ comment \"rules for kube-proxy\" ; }'"]),
        (Remove(TABLE), ["nft delete table ip kube-proxy"]),
        (Add(IPS), ["nft add set ip kube-proxy cluster-ips '{ type ipv4_addr ; comment \"Active ClusterIPs\" ; }'"]),
        (Remove(MAP), ["nft delete map ip kube-proxy service-ips"]),
        (Add(HOOK), [
            "nft add chain ip kube-proxy nat-output '{ type nat hook output priority -100 ; }'",
            "nft add rule ip kube-proxy nat-output ip daddr . meta l4proto . th dport vmap @service-ips",
        ]),
        (Replace(SERVICE, SERVICE), [
            "nft flush chain ip kube-proxy service-A",
            "nft add rule ip kube-proxy service-A 'numgen random mod 1 vmap { 0 : goto endpoint-A }'",
        ]),
        (Remove(SERVICE), ["nft flush chain ip kube-proxy service-A", "nft delete chain ip kube-proxy service-A"]),
        (Add(WAY), ["nft add element ip kube-proxy service-ips '{ 10.96.0.1 . tcp . 80 : goto service-A }'"]),
        (Replace(IP, NftElement(NS, "kube-proxy", "cluster-ips", "10.96.0.1", comment="x")), [
            "nft delete element ip kube-proxy cluster-ips '{ 10.96.0.1 }'",
            "nft add element ip kube-proxy cluster-ips '{ 10.96.0.1 comment \"x\" }'",
        ]),
    ],
)  # fmt: skip
def test_what_a_person_types(step: Step, output: list[str]) -> None:
    assert typed(step) == output


def test_one_transaction_takes_away_first_and_then_builds_from_the_bottom() -> None:
    gone = NftChain(NS, "kube-proxy", "old", "", ("goto older",))
    steps = (Add(WAY), Add(SERVICE), Replace(HOOK, HOOK), Remove(gone), Add(STICKY))
    assert nft_restore(steps).splitlines() == [
        "flush chain ip kube-proxy nat-output",
        "flush chain ip kube-proxy old",
        "delete chain ip kube-proxy old",
        "add set ip kube-proxy affinity-A { type ipv4_addr ; flags dynamic,timeout ; timeout 60s ; }",
        "add chain ip kube-proxy service-A",
        "flush chain ip kube-proxy service-A",
        "add rule ip kube-proxy service-A numgen random mod 1 vmap { 0 : goto endpoint-A }",
        "flush chain ip kube-proxy nat-output",
        "add rule ip kube-proxy nat-output ip daddr . meta l4proto . th dport vmap @service-ips",
        "add element ip kube-proxy service-ips { 10.96.0.1 . tcp . 80 : goto service-A }",
    ]


LISTING = """\
table ip kube-proxy {
    comment "rules for kube-proxy"
    set cluster-ips {
        type ipv4_addr
        comment "Active ClusterIPs"
        elements = { 172.30.0.41, 172.30.0.42,
            172.30.0.43 }
    }

    map no-endpoint-services {
        type ipv4_addr . inet_proto . inet_service : verdict
        elements = { 1.2.3.4 . 17 . 80 comment "ns2/svc2:p80, and more" : drop,
            172.30.0.46 . tcp . 6 : goto reject-chain }
    }

    chain reject-chain {
        comment "helper"
        reject
    }

    chain nat-output {
        type nat hook output priority -100; policy accept;
        jump services
        counter packets 7 bytes 420 comment "mine"
    }

    chain empty {
    }
}
""".replace("    ", "\t")


def test_a_listing_is_taken_apart() -> None:
    comment, blocks = nft_found(LISTING)
    assert comment == "rules for kube-proxy"
    assert blocks == [
        Block("set", "cluster-ips", ("type ipv4_addr", 'comment "Active ClusterIPs"'),
              ("172.30.0.41", "172.30.0.42", "172.30.0.43")),
        Block("map", "no-endpoint-services", ("type ipv4_addr . inet_proto . inet_service : verdict",), (
            '1.2.3.4 . 17 . 80 comment "ns2/svc2:p80, and more" : drop',
            "172.30.0.46 . tcp . 6 : goto reject-chain",
        )),
        Block("chain", "reject-chain", ('comment "helper"',), ("reject",)),
        Block("chain", "nat-output", ("type nat hook output priority -100; policy accept;",),
              ("jump services", 'counter comment "mine"')),
        Block("chain", "empty", (), ()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("output", "key", "verdict", "comment"),
    [
        ("172.30.0.41", "172.30.0.41", "", ""),
        ("1.2.3.4 . tcp . 80 : goto service-X-ns/web/tcp/", "1.2.3.4 . tcp . 80", "goto service-X-ns/web/tcp/", ""),
        ('17 . 53 comment "ns/dns:a : b" : drop', "udp . 53", "drop", "ns/dns:a : b"),
        ("10.0.0.1 timeout 1h expires 59m3s", "10.0.0.1", "", ""),
    ],
)
def test_an_element_is_spelt_as_it_is_written(output: str, key: str, verdict: str, comment: str) -> None:
    assert element_found(NS, "kube-proxy", "s", output) == NftElement(NS, "kube-proxy", "s", key, verdict, comment)


def after(have: tuple[KernelObject, ...], *plans: Plan) -> set[KernelObject]:
    """What the fake kernel has after one plan and another."""
    kernel = FakeKernel(have)
    for plan in plans:
        for transaction in transactions(plan):
            kernel.run(transaction)
    return set(kernel.state())


def test_a_state_is_made_in_any_order_and_taken_back() -> None:
    plan = diff((), STATE)
    assert after((), (plan[0], *reversed(plan[1:]))) == set(STATE)
    assert after(STATE, invert(plan[1:])) == {Netns(NS)}


@pytest.mark.parametrize(
    "want",
    [
        [obj for obj in STATE if obj not in (ENDPOINT, STICKY, SERVICE, WAY)],
        [obj for obj in STATE if obj is not WAY],
        [Netns(NS)],
        [obj for obj in STATE if obj not in (SERVICE, WAY)],
        [
            NftChain(NS, "kube-proxy", "service-A", "", ("drop",)) if obj is SERVICE else obj
            for obj in STATE
            if obj is not ENDPOINT
        ],
        [
            NftElement(NS, "kube-proxy", "service-ips", WAY.element, "drop") if obj is WAY else obj
            for obj in STATE
            if obj is not SERVICE
        ],
        [
            NftSet(NS, "kube-proxy", "affinity-A", STICKY.spec.replace("60", "90")) if obj is STICKY else obj
            for obj in STATE
        ],
        [NftSet(NS, "kube-proxy", "affinity-A", "type ipv4_addr ;") if obj is STICKY else obj for obj in STATE],
        [NftChain(NS, "kube-proxy", "nat-output", "", ()) if obj is HOOK else obj for obj in STATE],
    ],
)
def test_any_change_and_its_way_back(want: list[KernelObject]) -> None:
    there, back = diff(STATE, tuple(want)), diff(want, STATE)
    assert after(STATE, there) == set(want)
    assert after(STATE, there, back) == set(STATE)
    assert after(STATE, there, invert(there)) == set(STATE)


def test_a_declaration_that_is_another_takes_its_table_along() -> None:
    other = NftSet(NS, "kube-proxy", "cluster-ips", "type ether_addr ;")
    plan = diff((Netns(NS), TABLE, other), (Netns(NS), TABLE, IPS))
    assert plan == (Remove(other), Remove(TABLE), Add(TABLE), Add(IPS))


@pytest.mark.parametrize(
    "step",
    [
        Add(NftSet(NS, "other", "s", "type ipv4_addr ;")),
        Add(NftChain(NS, "kube-proxy", "c", "", ("goto nowhere",))),
        Add(NftChain(NS, "kube-proxy", "c", "", ("ip saddr @nothing drop",))),
        Add(NftElement(NS, "kube-proxy", "nothing", "10.0.0.1")),
        Add(NftElement(NS, "kube-proxy", "service-ips", "10.0.0.1 . tcp . 80", "goto nowhere")),
        Add(NftElement(NS, "kube-proxy", "service-ips", WAY.element, "drop")),
        Add(NftSet(NS, "kube-proxy", "cluster-ips", "type ether_addr ;")),
        Remove(ENDPOINT),
        Remove(SERVICE),
        Remove(STICKY),
        Remove(MAP),
        Remove(NftElement(NS, "kube-proxy", "cluster-ips", "10.96.0.9")),
        Replace(NftChain(NS, "kube-proxy", "c", "", ()), NftChain(NS, "kube-proxy", "c", "", ("drop",))),
    ],
)
def test_what_is_refused_is_refused_as_a_whole(step: Step) -> None:
    kernel = FakeKernel(STATE)
    fine = Add(NftElement(NS, "kube-proxy", "cluster-ips", "10.96.0.2"))
    (transaction,) = transactions((fine, step))
    with pytest.raises(Refused) as refused:
        kernel.run(transaction)
    assert refused.value.done == ()
    assert set(kernel.state()) == set(STATE)
