"""Who gets which address, and keeps it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest

from nslab.api.pod_types import Pod
from nslab.compiler.addresses import announced, blocks, tunnel_address
from nslab.compiler.placement import assign_addresses
from nslab.errors import UsageError
from nslab.lab.types import Encapsulation, Lab, Networks, Node, Plugin, ProxyMode

CALICO = Lab(
    "lab",
    Networks((IPv4Network("192.168.59.0/24"),), IPv4Network("20.96.0.0/12"), IPv4Network("10.96.0.0/12")),
    Plugin.CALICO,
    Encapsulation.IPIP,
    ProxyMode.NONE,
    None,
    (Node("node1", IPv4Address("192.168.59.22"), IPv4Network("20.111.156.0/26")),),
    (),
    (),
)
SMALL = Node("node1", IPv4Address("192.168.59.22"), IPv4Network("20.96.1.0/29"))
KUBENET = replace(CALICO, plugin=Plugin.KUBENET, encapsulation=Encapsulation.NONE, nodes=(SMALL,))


def with_pods(lab: Lab, *names: str, **requested: str) -> Lab:
    """The lab with these pods as well; those that are there keep what they have."""
    there = {pod.name: pod for pod in lab.pods}
    pods = [
        there.get(
            name, Pod(name, "node1", (), requested=IPv4Address(asked) if (asked := requested.get(name)) else None)
        )
        for name in names
    ]
    return replace(lab, pods=tuple(pods))


def addresses(lab: Lab) -> dict[str, str]:
    """The last number of each pod's address."""
    return {pod.name: str(pod.assigned).rsplit(".", 1)[1] for pod in lab.pods}


def test_calico_counts_from_the_blocks_first_which_the_tunnel_has() -> None:
    assert str(tunnel_address(CALICO, CALICO.nodes[0])) == "20.111.156.0"
    assert addresses(assign_addresses(with_pods(CALICO, "a", "b"))) == {"a": "1", "b": "2"}
    flat = replace(CALICO, encapsulation=Encapsulation.NONE)
    assert addresses(assign_addresses(with_pods(flat, "a", "b"))) == {"a": "0", "b": "1"}


def test_who_asks_gets_what_he_asks_for_and_nobody_else_does() -> None:
    assert addresses(assign_addresses(with_pods(CALICO, "a", "b", "c", b="20.111.156.1"))) == {
        "a": "2",
        "b": "1",
        "c": "3",
    }


def test_who_has_what_another_asks_for_by_now_gives_it_up() -> None:
    before = assign_addresses(with_pods(CALICO, "a", "b"))
    assert addresses(assign_addresses(with_pods(before, "a", "b", "c", c="20.111.156.1"))) == {
        "a": "3",
        "b": "2",
        "c": "1",
    }


def test_a_pod_in_between_renumbers_nobody() -> None:
    before = assign_addresses(with_pods(CALICO, "a", "c"))
    assert addresses(assign_addresses(with_pods(before, "a", "b", "c"))) == {"a": "1", "b": "3", "c": "2"}


def test_a_freed_address_is_given_again_by_calico() -> None:
    before = assign_addresses(with_pods(CALICO, "a", "b"))
    assert addresses(assign_addresses(with_pods(before, "b", "c"))) == {"b": "2", "c": "1"}


def test_kubenet_skips_the_gateway_and_goes_on_from_the_last_one_given() -> None:
    first = assign_addresses(with_pods(KUBENET, "a", "b"))
    assert addresses(first) == {"a": "2", "b": "3"}
    assert first.last_reserved == (("node1", IPv4Address("20.96.1.3")),)
    second = assign_addresses(with_pods(first, "b", "c"))
    assert addresses(second) == {"b": "3", "c": "4"}


def test_kubenet_does_not_give_the_last_one_again_at_once() -> None:
    first = assign_addresses(with_pods(KUBENET, "a", "b"))
    assert addresses(assign_addresses(with_pods(first, "a", "c"))) == {"a": "2", "c": "4"}


def test_kubenet_goes_around_once() -> None:
    full = assign_addresses(with_pods(KUBENET, *"abcde"))
    assert addresses(full) == {"a": "2", "b": "3", "c": "4", "d": "5", "e": "6"}
    assert addresses(assign_addresses(with_pods(full, *"bcdef")))["f"] == "2"
    with pytest.raises(UsageError, match=r"node1 has no address left in 20\.96\.1\.0/29"):
        assign_addresses(with_pods(full, *"abcdef"))


def test_placing_twice_changes_nothing() -> None:
    once = assign_addresses(with_pods(KUBENET, "a", "b"))
    assert assign_addresses(once) == once


def test_a_node_claims_its_first_block_and_those_that_it_uses() -> None:
    wide = Node("node1", IPv4Address("192.168.59.22"), IPv4Network("20.111.156.0/24"))
    lab = replace(CALICO, nodes=(wide,))
    assert blocks(assign_addresses(lab), wide) == [IPv4Network("20.111.156.0/26")]
    used = assign_addresses(with_pods(lab, "a", a="20.111.156.200"))
    assert blocks(used, wide) == [IPv4Network("20.111.156.0/26"), IPv4Network("20.111.156.192/26")]
    narrow = Node("node1", IPv4Address("192.168.59.22"), IPv4Network("20.111.156.0/28"))
    assert blocks(replace(lab, nodes=(narrow,)), narrow) == [IPv4Network("20.111.156.0/28")]


def test_a_node_lends_what_another_nodes_pod_asks_for_and_gives_it_to_no_pod_of_its_own() -> None:
    other = Node("node2", IPv4Address("192.168.59.23"), IPv4Network("20.109.131.0/26"))
    lab = replace(CALICO, nodes=(*CALICO.nodes, other))
    borrower = Pod("b", "node2", (), requested=IPv4Address("20.111.156.1"))
    lent = assign_addresses(replace(lab, pods=(*with_pods(lab, "a").pods, borrower)))
    assert addresses(lent) == {"a": "2", "b": "1"}
    assert announced(lent, lab.nodes[0]) == [IPv4Network("20.111.156.0/26")]
    assert blocks(lent, other) == [IPv4Network("20.109.131.0/26")]
    assert announced(lent, other) == [IPv4Network("20.109.131.0/26"), IPv4Network("20.111.156.1")]
