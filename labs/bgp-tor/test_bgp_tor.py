"""What this lab shows: a router outside the cluster learns blocks and Services' addresses from the nodes."""

import time

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")
NODES = {"192.168.59.22", "192.168.59.23", "192.168.59.24"}


def hops(lab, network):
    """The gateways of the router's route to a network."""
    found = lab.router("tor").json("ip", "-j", "route", "show", network)
    return {hop["gateway"] for route in found for hop in route.get("nexthops", [route])}


def test_all_nodes_announce_the_range_of_services_and_one_announces_a_block(lab):
    """Equal-cost multipath, and one way."""
    deadline = time.monotonic() + 30
    while hops(lab, "10.96.0.0/12") != NODES:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert hops(lab, "20.111.156.0/26") == {"192.168.59.22"}


def test_a_client_behind_the_router_calls_a_pod_and_a_cluster_ip(lab):
    """The pod sees the client; behind the ClusterIP, a node."""
    client, pod_b = lab.client(), lab.pod("pod-b")
    assert client.http(f"{pod_b.address}:8080/clientip").text.partition(":")[0] == "192.168.60.10"
    assert client.http("10.103.9.116:8080/hostname").text == "pod-b"
    lab.probe()
    assert lab.diff() == []
