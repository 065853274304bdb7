"""ipvs mode on a kernel that has IPVS: what the programs are told is what they say, and connections are balanced."""

from __future__ import annotations

import socket
import struct
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nslab.proxy import ipvs
from nslab.proxy.mode import whole
from nslab.proxy.model import Port, ServiceInfo
from nslab.ruletext.ipvsadm import expired, ipvsadm_lines, retire
from tests.vm.ipvsbench import (
    CLIENT,
    EMPTY,
    FAR,
    NODE,
    POD_A,
    POD_B,
    PROXY,
    A,
    B,
    addresses,
    applied,
    ask,
    everything,
    inside,
    names,
    network,
    sh,
    talk,
    turn,
    web,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.proxy.model import Proxy


@pytest.fixture(scope="module", autouse=True)
def _network() -> Iterator[None]:
    with network():
        yield


EVERYTHING = (
    web(A, B, FAR, node_port=30080, affinity=60),
    replace(
        web(A, FAR, node_port=30081),
        name="balanced",
        cluster_ip="10.96.0.2",
        load_balancer_ips=("203.0.113.9",),
        source_ranges=("198.51.100.7/24", "192.0.2.1/32", "0.0.0.0/0"),
        external_local=True,
        health_check_node_port=32000,
    ),
    replace(
        web(A),
        name="strict",
        cluster_ip="10.96.0.3",
        load_balancer_ips=("203.0.113.8",),
        source_ranges=("10.1.0.0/16",),
    ),
    replace(web(B, protocol="UDP", node_port=30082), name="udp", cluster_ip="10.96.0.4", external_ips=("203.0.113.1",)),
    replace(
        web(B, protocol="SCTP", node_port=30083),
        name="sctp",
        cluster_ip="10.96.0.5",
        external_ips=("203.0.113.2",),
        external_local=True,
    ),
    ServiceInfo("default", "nobody", "10.96.0.6", (Port("", 80), Port("more", 81, "UDP"))),
)
"""Every kind of rule, set and server."""


@pytest.mark.parametrize(
    "proxy",
    [PROXY, replace(PROXY, cluster_cidr="", scheduler="mh"), replace(PROXY, masquerade_all=True, random_fully=False)],
    ids=["usual", "no CIDR, mh", "all masqueraded"],
)
def test_the_kernel_says_what_it_was_told(proxy: Proxy) -> None:
    with applied(*EVERYTHING, proxy=proxy) as items:
        assert sorted(sh("ipvsadm", "-Sn").splitlines()) == sorted(ipvsadm_lines({}, items))
        assert sorted(addresses("kube-ipvs0")) == sorted(item[2] for item in items if item[0] == "address")

        sets = [line.partition(" bucketsize")[0] for line in sh("ipset", "save").splitlines()]
        made = [f"create {item[1]} {' '.join(body)}" for item, body in items.items() if item[0] == "ipset"]
        assert sorted(sets) == sorted([*made, *(f"add {item[1]} {item[2]}" for item in items if item[0] == "member")])

        found: dict[tuple[str, str], list[str]] = {}
        table = ""
        for line in sh("iptables-save").splitlines():
            if line.startswith("*"):
                table = line[1:]
            elif line.startswith(":"):
                found[table, line[1:].split()[0]] = []
            elif line.startswith("-A"):
                _, chain, rule = line.split(" ", 2)
                found[table, chain].append(rule)
        for item, body in items.items():
            if item[0] == "chain":
                assert tuple(found.pop((item[1], item[2]))) == body, item
        jumps: dict[tuple[str, str], list[str]] = {}
        for item in items:
            if item[0] == "jump":
                jumps.setdefault((item[1], item[2]), []).insert(0, item[3])
        assert {where: rules for where, rules in found.items() if rules} == jumps

        for item, body in items.items():
            if item[0] == "sysctl":
                assert sh("sysctl", "-n", item[1]).strip() == body[0]


def test_nothing_is_left_of_it() -> None:
    turn(EMPTY, {})
    try:
        clean = everything()
        items = whole(ipvs, EVERYTHING, PROXY)
        turn({}, items)
        assert everything() != clean
        turn(items, {})
        assert everything() == clean
        assert (clean["servers"], clean["sets"], clean["rules"]) == ([], [], [])
        assert "kube-ipvs0" not in "".join(clean["links"])
    finally:
        turn({}, EMPTY)


def test_one_service_becomes_another() -> None:
    """In place: the frame stays, and what only one of them has comes and goes."""
    with applied(*EVERYTHING) as items:
        others = whole(ipvs, EVERYTHING[:2], PROXY)
        turn(items, others)
        assert sorted(sh("ipvsadm", "-Sn").splitlines()) == sorted(ipvsadm_lines({}, others))
        assert sorted(addresses("kube-ipvs0")) == sorted(item[2] for item in others if item[0] == "address")
        turn(others, items)
        assert sorted(sh("ipvsadm", "-Sn").splitlines()) == sorted(ipvsadm_lines({}, items))


@pytest.mark.parametrize(("who", "ip", "port"), [(POD_A, "10.96.0.1", 80), (CLIENT, "192.168.59.22", 30080)])
def test_rr_takes_turns(who: str, ip: str, port: int) -> None:
    with applied(web(A, B, node_port=30080)):
        assert names(ask(who, ip, port) for _ in range(8)) in ("abababab", "babababa")


def test_who_is_masqueraded() -> None:
    with applied(web(A, node_port=30080, external_ips=("203.0.113.1",))):
        assert ask(POD_B, "10.96.0.1") == ("a", B), "a pod keeps its address"
        assert ask(POD_A, "10.96.0.1") == ("a", "192.168.59.22"), "but not before itself: hairpin"
        for ip, port in (("192.168.59.22", 30080), ("203.0.113.1", 80), ("10.96.0.1", 80)):
            assert ask(CLIENT, ip, port) == ("a", "192.168.59.22"), "who is not of the pod network comes as the node"
        assert ask(NODE, "10.96.0.1") == ("a", "192.168.59.22")
        assert ask(NODE, "192.168.59.22", 30080) == ("a", "192.168.59.22")


def test_policy_local_keeps_the_client() -> None:
    with applied(web(A, FAR, node_port=30080, external_local=True, load_balancer_ips=("203.0.113.9",))):
        assert [ask(CLIENT, "192.168.59.22", 30080) for _ in range(3)] == [("a", "192.168.59.10")] * 3
        assert ask(CLIENT, "203.0.113.9") == ("a", "192.168.59.10")


@pytest.mark.parametrize(("ranges", "comes_in"), [("192.168.59.10/32", True), ("198.51.100.0/24", False)])
def test_source_ranges(ranges: str, *, comes_in: bool) -> None:
    with applied(web(A, load_balancer_ips=("203.0.113.9",), source_ranges=(ranges,))):
        sock = inside(CLIENT, socket.SOCK_STREAM)
        sock.settimeout(10 if comes_in else 0.5)
        with sock:
            if comes_in:
                sock.connect(("203.0.113.9", 80))
            else:
                with pytest.raises(TimeoutError):  # dropped
                    sock.connect(("203.0.113.9", 80))


@pytest.mark.parametrize("who", [POD_A, CLIENT, NODE])
def test_a_virtual_server_without_real_ones_refuses_at_once(who: str) -> None:
    """Nothing is written for it: IPVS itself answers with ICMP port unreachable (ip_vs_leave)."""
    with applied(web(node_port=30080)):
        assert "REJECT" not in sh("iptables-save", "-t", "nat")
        for ip, port in (("10.96.0.1", 80), ("192.168.59.22", 30080)):
            with pytest.raises(ConnectionRefusedError):
                ask(who, ip, port)
    with applied(web(protocol="UDP")), inside(POD_A, socket.SOCK_DGRAM) as sock:
        sock.connect(("10.96.0.1", 80))
        sock.send(b"?")
        with pytest.raises(ConnectionRefusedError):
            sock.recv(100)


def test_the_nodes_own_ports_are_not_behind_a_services_address() -> None:
    """A server on all addresses of the node: KUBE-IPVS-FILTER keeps everybody from it, as kube-ipvs0 is one of them."""
    with applied(web(A)), inside(NODE, socket.SOCK_STREAM, bound="0.0.0.0") as server:
        server.listen()
        with inside(CLIENT, socket.SOCK_STREAM) as sock:
            sock.connect(("192.168.59.22", 8080))
        with inside(CLIENT, socket.SOCK_STREAM) as sock, pytest.raises(ConnectionRefusedError):
            sock.connect(("10.96.0.1", 8080))


@pytest.mark.parametrize("scheduler", ["rr", "wrr", "lc", "sh", "mh"])
def test_schedulers(scheduler: str) -> None:
    with applied(web(A, B), proxy=replace(PROXY, scheduler=scheduler)):
        answers = names(ask(POD_A, "10.96.0.1") for _ in range(8))
    if scheduler in ("rr", "wrr"):  # all weights are 1
        assert answers in ("abababab", "babababa")
    elif scheduler == "sh":  # by the source's address
        assert len(set(answers)) == 1
    else:
        assert set(answers) <= {"a", "b"}


def test_affinity() -> None:
    with applied(web(A, B, affinity=60)):
        assert len({*names(ask(POD_A, "10.96.0.1") for _ in range(6))}) == 1


def test_udp() -> None:
    with applied(web(A, B, protocol="UDP")):
        seen = ""
        for _ in range(4):
            with inside(POD_A, socket.SOCK_DGRAM) as sock:
                sock.connect(("10.96.0.1", 80))
                sock.send(b"?")
                seen += sock.recv(100).decode()[0]
        assert seen in ("abab", "baba")


def test_a_connection_outlives_its_endpoint() -> None:
    """A retired real server is asked nothing new, and goes when the last connection to it has ended."""
    with applied(web(A, B)) as items:
        sock, name, _ = talk(POD_A, "10.96.0.1")
        stays, goes = (A, B) if name == "b" else (B, A)
        fewer = whole(ipvs, [web(stays)], PROXY)
        kept = retire(items, fewer)
        assert [item[3] for item in kept] == [f"{goes}:8080"]
        turn(items, {**fewer, **kept})
        assert len({*names(ask(POD_B, "10.96.0.1") for _ in range(3))} | {name}) == 2, "new ones go to the other"
        sock.send(b"still there?")
        assert sock.recv(100) == b"still there?"
        assert expired(sh("ipvsadm", "-Ln"), kept) == {}
        # Ended by a reset, IPVS forgets it after 10 s; after an orderly end it would be two minutes.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()
        deadline = time.monotonic() + 30
        while not (gone := expired(sh("ipvsadm", "-Ln"), kept)):
            assert time.monotonic() < deadline
        turn({**fewer, **gone}, fewer)
        assert sorted(sh("ipvsadm", "-Sn").splitlines()) == sorted(ipvsadm_lines({}, fewer))
        turn(fewer, items)
