"""Which endpoints a packet may be sent to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nslab.proxy.choose import choose, externally_accessible
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo

READY, GONE = {"ready": True}, {"ready": False, "serving": False, "terminating": True}
STARTING, UNREADY = {"ready": False, "serving": False}, {"ready": False, "serving": True}
LEAVING = {"ready": False, "serving": True, "terminating": True}
NODE = Proxy("n1", ("192.0.2.1",), zone="a")
INSIDE = ServiceInfo("default", "web", "10.96.0.1")
LOCAL_INSIDE = replace(INSIDE, internal_local=True)
LOCAL_OUTSIDE = replace(INSIDE, external_local=True)


def ends(**nodes: dict[str, Any]) -> tuple[Endpoint, ...]:
    """One endpoint per node, with its conditions; its address ends with the node's number."""
    return tuple(Endpoint(f"10.0.0.{name[1:]}", 80, f"n{name[1]}", **output) for name, output in nodes.items())


def chosen(service: ServiceInfo, endpoints: tuple[Endpoint, ...], node_port: int = 0) -> tuple[str, str, str, bool]:
    """Cluster, local, reachable (last parts of the addresses), and whether there are any."""
    found = choose(service, Port("http", 80, "TCP", node_port, endpoints), NODE)
    shown = [" ".join(end.ip.rpartition(".")[2] for end in some) for some in found[:3]]
    return shown[0], shown[1], shown[2], found.somewhere


@pytest.mark.parametrize(
    ("nodes", "cluster"),
    [
        ({"n1": READY, "n2": READY, "n3": STARTING}, "1 2"),
        ({"n1": LEAVING, "n2": READY}, "2"),  # while there is a ready one, nobody is sent to one that goes
        ({"n1": LEAVING, "n2": GONE, "n3": LEAVING}, "1 3"),
        ({"n1": GONE, "n2": STARTING}, ""),
        ({"n1": UNREADY, "n2": GONE}, ""),  # it answers, but not since it goes
        ({"n1": UNREADY, "n2": LEAVING}, "2"),
        ({}, ""),
    ],
)
def test_ready_ones_else_those_that_serve_while_they_terminate(nodes: dict[str, Any], cluster: str) -> None:
    assert chosen(INSIDE, ends(**nodes)) == (cluster, "", cluster, bool(cluster))


@pytest.mark.parametrize(
    ("nodes", "local", "somewhere"),
    [
        ({"n1": READY, "n2": READY}, "1", True),
        ({"n2": READY}, "", True),
        ({"n1": LEAVING, "n2": READY}, "1", True),  # Local does not look at what other nodes have
        ({"n1": LEAVING, "n11": READY}, "11", True),
        ({"n1": GONE, "n2": LEAVING}, "", True),
        ({"n1": GONE, "n2": STARTING}, "", False),
    ],
)
def test_internal_policy_local(nodes: dict[str, Any], local: str, somewhere: bool) -> None:
    assert chosen(LOCAL_INSIDE, ends(**nodes)) == ("", local, local, somewhere)


@pytest.mark.parametrize(
    ("nodes", "cluster", "local", "reachable"),
    [
        ({"n1": READY, "n2": READY}, "1 2", "1", "1 2"),
        ({"n2": READY}, "2", "", "2"),
        ({"n1": LEAVING, "n2": READY}, "2", "1", "2 1"),
        ({"n1": LEAVING, "n2": LEAVING}, "1 2", "1", "1 2"),
    ],
)
@pytest.mark.parametrize("service", [LOCAL_OUTSIDE, replace(LOCAL_OUTSIDE, internal_local=True)])
def test_external_policy_local_has_both(
    service: ServiceInfo, nodes: dict[str, Any], cluster: str, local: str, reachable: str
) -> None:
    """Pods and the node itself reach all endpoints by a node port, even if the inside is Local as well."""
    assert chosen(service, ends(**nodes), node_port=30080) == (cluster, local, reachable, True)


def test_a_policy_for_what_is_not_there_does_nothing() -> None:
    assert chosen(LOCAL_OUTSIDE, ends(n1=READY, n2=READY)) == ("1 2", "", "1 2", True)


@pytest.mark.parametrize(
    ("service", "node_port", "accessible"),
    [
        (INSIDE, 0, False),
        (INSIDE, 30080, True),
        (replace(INSIDE, external_ips=("198.51.100.1",)), 0, True),
        (replace(INSIDE, load_balancer_ips=("203.0.113.1",)), 0, True),
    ],
)
def test_externally_accessible(service: ServiceInfo, node_port: int, accessible: bool) -> None:
    assert externally_accessible(service, Port("http", 80, "TCP", node_port)) is accessible


@pytest.mark.parametrize(
    ("hints", "cluster"),
    [
        (("a", "b", "b"), "1"),
        (("a", "a b", "b"), "1 2"),
        (("a", "", "b"), "1 2 3"),  # one without a hint, and none counts
        (("b", "b", "c"), "1 2 3"),  # nobody is meant for zone a
        (("", "", ""), "1 2 3"),
    ],
)
def test_hints_of_zones(hints: tuple[str, ...], cluster: str) -> None:
    some = ends(n1=READY, n2=READY, n3=READY)
    hinted = tuple(replace(end, zones=tuple(output.split())) for end, output in zip(some, hints, strict=True))
    assert chosen(INSIDE, hinted)[0] == cluster
    everywhere = choose(INSIDE, Port("http", 80, endpoints=hinted), replace(NODE, zone=""))
    assert everywhere.cluster == hinted


def test_hints_of_endpoints_that_are_not_ready_do_not_matter() -> None:
    first, second, third = ends(n1=READY, n2=READY, n3=LEAVING)
    assert chosen(INSIDE, (replace(first, zones=("a",)), replace(second, zones=("b",)), third))[0] == "1"


def test_local_does_not_look_at_hints() -> None:
    first, second = ends(n1=READY, n2=READY)
    hinted = (replace(first, zones=("b",)), replace(second, zones=("a",)))
    assert chosen(LOCAL_OUTSIDE, hinted, node_port=30080) == ("2", "1", "2 1", True)
