"""The kernel in memory, where it has to say something (tests/kernel/test_fake_is_true.py has the real one agree)."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import TYPE_CHECKING

import pytest

from nslab.errors import Refused
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.inet import Address
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain, Jump
from nslab.objects.links import Veth
from nslab.objects.namespaces import Netns
from nslab.objects.plan import Add, Remove, Replace, Step, diff, transactions
from nslab.objects.ports import LinkUp
from nslab.objects.routes import Route
from nslab.objects.sysctl import Sysctl

if TYPE_CHECKING:
    from nslab.objects.base import KernelObject

CABLE = Veth("a", "x", "02:00:00:00:00:0a", "b", "y", "02:00:00:00:00:0b")
UP, ADDRESS = LinkUp("a", "x"), Address("a", "x", IPv4Interface("10.0.0.1/24"))
DEFAULT = Route("a", IPv4Network("0.0.0.0/0"), "x", IPv4Address("10.0.0.9"))
WORLD: tuple[KernelObject, ...] = (Netns("a"), Netns("b"), CABLE)


def run(kernel: FakeKernel, *steps: Step) -> None:
    for unit in transactions(steps):
        kernel.run(unit)


def refusal(have: tuple[KernelObject, ...], *steps: Step) -> str:
    with pytest.raises(Refused) as refused:
        run(FakeKernel(have), *steps)
    return refused.value.reason


@pytest.mark.parametrize(
    ("have", "step", "reason"),
    [
        (WORLD, Add(Netns("a")), "File exists"),
        (WORLD, Add(CABLE), "File exists"),
        (WORLD, Add(Veth("b", "y", "", "a", "z", "")), "File exists"),
        ((Netns("a"),), Add(CABLE), "No such file or directory"),
        ((Netns("a"),), Remove(CABLE), "No such device"),
        (WORLD, Add(LinkUp("a", "z")), "No such device"),
        (WORLD, Add(Route("a", IPv4Network("10.1.0.0/16"), "x")), "Network is down"),
        ((*WORLD, UP), Add(DEFAULT), "Network is unreachable"),
        ((*WORLD, UP), Remove(DEFAULT), "No such process"),
        ((*WORLD, ADDRESS), Add(ADDRESS), "File exists"),
        (WORLD, Remove(ADDRESS), "Cannot assign requested address"),
        (WORLD, Add(SetMember("a", "S", "10.0.0.0/8")), "No such file or directory"),
        (WORLD, Add(Jump("a", "nat", "OUTPUT", "-j C")), "No such file or directory"),
        (WORLD, Remove(Jump("a", "nat", "OUTPUT", "-j C")), "No such file or directory"),
        (
            (*WORLD, IpSet("a", "S", "hash:net"), Chain("a", "nat", "C", ("-m set --match-set S src -j DROP",))),
            Remove(IpSet("a", "S", "hash:net")),
            "Device or resource busy",
        ),
        (
            (*WORLD, Chain("a", "nat", "C", ()), Jump("a", "nat", "OUTPUT", "-j C")),
            Remove(Chain("a", "nat", "C", ())),
            "Device or resource busy",
        ),
    ],
)
def test_it_refuses(have: tuple[KernelObject, ...], step: Step, reason: str) -> None:
    assert refusal(have, step) == reason


def test_a_batch_goes_on_after_a_refusal() -> None:
    kernel = FakeKernel(WORLD)
    steps = (Add(DEFAULT), Add(UP), Add(ADDRESS))
    with pytest.raises(Refused) as refused:
        run(kernel, *steps)
    assert refused.value.line == "ip -n a route add default via 10.0.0.9 dev x"
    assert refused.value.done == steps[1:]
    assert kernel.state() == (*WORLD, UP, ADDRESS)


def test_a_table_is_taken_whole_or_not_at_all() -> None:
    kernel = FakeKernel(WORLD)
    with pytest.raises(Refused) as refused:
        run(kernel, Add(Chain("a", "nat", "C", ())), Add(Chain("a", "nat", "D", ("-j E",))))
    assert (refused.value.done, kernel.state()) == ((), WORLD)


def test_a_cable_takes_both_ends_with_it() -> None:
    far = LinkUp("b", "y"), Address("b", "y", IPv4Interface("10.0.0.9/24"))
    kernel = FakeKernel((*WORLD, UP, ADDRESS, DEFAULT, *far))
    run(kernel, Remove(CABLE))
    assert kernel.state() == (Netns("a"), Netns("b"))


def test_forwarding_is_switched_for_all_interfaces_at_once() -> None:
    one = Sysctl("a", "net/ipv4/conf/x/forwarding", "1", "1")
    on, off = (Sysctl("a", "net/ipv4/ip_forward", value, "0") for value in "10")
    kernel = FakeKernel((*WORLD, one, on))
    run(kernel, Replace(on, off))
    assert [obj.value for obj in kernel.state() if isinstance(obj, Sysctl)] == ["0", "0"]


def test_an_empty_plan_changes_nothing() -> None:
    kernel = FakeKernel(WORLD)
    assert transactions(diff(kernel.state(), WORLD)) == ()
