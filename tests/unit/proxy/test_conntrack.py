"""Which flows of UDP are forgotten, by what `conntrack -L` says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nslab.proxy.conntrack import concerned, stale
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo

PROXY = Proxy("node1", ("192.168.59.22",))
A, B = Endpoint("20.96.0.2", 53), Endpoint("20.96.0.3", 53)
DNS = ServiceInfo("kube-system", "kube-dns", "10.96.0.10", (Port("dns", 53, "UDP", 30053, (A, B)),))
ONLY_B = replace(DNS, ports=(replace(DNS.ports[0], endpoints=(B,)),))
NONE = replace(DNS, ports=(replace(DNS.ports[0], endpoints=()),))


def flow(to: str, port: int, answers: str, answers_port: int = 53, client: str = "20.96.0.9") -> str:
    there = f"src={client} dst={to} sport=4000 dport={port}"
    return f"udp      17 29 {there} src={answers} dst={client} sport={answers_port} dport=4000 [ASSURED] mark=0 use=1\n"


def forgotten(listed: str, before: tuple[ServiceInfo, ...], after: tuple[ServiceInfo, ...]) -> list[str]:
    return [" ".join(command.argv[4:]) for command in stale(listed, before, after, PROXY)]


def test_of_an_endpoint_that_is_gone() -> None:
    listed = flow("10.96.0.10", 53, "20.96.0.2") + flow("10.96.0.10", 53, "20.96.0.3")
    assert forgotten(listed, (DNS,), (ONLY_B,)) == [
        "--orig-dst 10.96.0.10 --orig-port-dst 53 --reply-src 20.96.0.2 --reply-port-src 53"
    ]
    assert forgotten(listed, (ONLY_B,), (DNS,)) == []


@pytest.mark.parametrize(
    "other",
    [
        {"ready": False, "terminating": True},  # it goes, and serves as long as it is there
        {"ready": False},
        {"node": "node2"},
        {"zones": ("b",)},
    ],
)
def test_a_flow_stays_while_its_endpoint_serves_whatever_new_ones_may_do(other: dict[str, Any]) -> None:
    ends = (replace(A, **other), replace(B, node="node1", zones=("a",)))
    after = replace(DNS, ports=(replace(DNS.ports[0], endpoints=ends),), internal_local=True)
    listed = flow("10.96.0.10", 53, A.ip)
    assert [" ".join(one.argv) for one in stale(listed, (DNS,), (after,), replace(PROXY, zone="a"))] == []
    gone = replace(after, ports=(replace(after.ports[0], endpoints=(replace(ends[0], serving=False), ends[1])),))
    assert len(stale(listed, (DNS,), (gone,), replace(PROXY, zone="a"))) == 1


def test_of_a_service_that_has_none_and_then_some() -> None:
    untranslated = flow("10.96.0.10", 53, "10.96.0.10").replace("[ASSURED]", "[UNREPLIED]")
    assert forgotten(untranslated, (NONE,), (DNS,)) == [
        "--orig-dst 10.96.0.10 --orig-port-dst 53 --reply-src 10.96.0.10 --reply-port-src 53"
    ]


def test_of_a_service_that_is_gone() -> None:
    assert len(forgotten(flow("10.96.0.10", 53, "20.96.0.2"), (DNS,), ())) == 1


def test_a_command_forgets_the_flows_of_all_clients() -> None:
    listed = "".join(flow("10.96.0.10", 53, "20.96.0.2", client=f"20.96.0.{number}") for number in range(9, 99))
    assert len(forgotten(listed, (DNS,), (ONLY_B,))) == 1


def test_of_node_ports_at_the_nodes_own_addresses_alone() -> None:
    listed = flow("192.168.59.22", 30053, "20.96.0.2") + flow("192.168.59.23", 30053, "20.96.0.2")
    assert forgotten(listed, (DNS,), (ONLY_B,)) == [
        "--orig-dst 192.168.59.22 --orig-port-dst 30053 --reply-src 20.96.0.2 --reply-port-src 53"
    ]


def test_of_node_ports_by_loopback() -> None:
    listed = flow("127.0.0.1", 30053, "20.96.0.2") + flow("127.0.0.2", 30053, "20.96.0.3")
    assert forgotten(listed, (DNS,), (ONLY_B,)) == [
        "--orig-dst 127.0.0.1 --orig-port-dst 30053 --reply-src 20.96.0.2 --reply-port-src 53"
    ]


def test_others_flows_are_left_alone() -> None:
    listed = flow("8.8.8.8", 53, "8.8.8.8") + flow("10.96.0.10", 54, "20.96.0.2") + "conntrack v1.4.7: 2 flow entries\n"
    assert forgotten(listed, (DNS,), (NONE,)) == []


def test_what_has_no_udp_is_not_even_looked_for() -> None:
    tcp = replace(DNS, ports=(Port("dns-tcp", 53, "TCP"),))
    assert [concerned([tcp]), concerned([DNS]), concerned([tcp, replace(DNS, cluster_ip="")])] == [False, True, False]


def test_where_the_kernel_counts_packets() -> None:
    counted = (
        "udp      17 29 src=20.96.0.9 dst=10.96.0.10 sport=4000 dport=53 packets=2 bytes=72 "
        "src=20.96.0.2 dst=20.96.0.9 sport=53 dport=4000 packets=2 bytes=66 [ASSURED] mark=0 use=1\n"
    )
    assert forgotten(counted, (DNS,), (ONLY_B,)) == [
        "--orig-dst 10.96.0.10 --orig-port-dst 53 --reply-src 20.96.0.2 --reply-port-src 53"
    ]


def test_in_userspace_mode_it_is_the_proxy_process_that_answers() -> None:
    """Flows that another mode translated go; those to the process stay, whichever address of the node it has there."""
    ports = {("kube-system/kube-dns:dns", "udp"): 20053}
    there, here = flow("10.96.0.10", 53, "20.96.0.2"), flow("10.96.0.10", 53, "20.96.0.1", 20053)
    commands = stale(there + here, (), (DNS,), PROXY, ports)
    assert [command.argv[-3] for command in commands] == ["20.96.0.2"]
