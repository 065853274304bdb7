"""What this lab shows: routes alone, from node to node and from node to pod."""

import json

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, those included that must not reach each other."""
    lab.probe()


def test_a_node_has_a_route_to_each_of_its_pods_and_one_to_the_others_block(lab):
    """And a hole for what nobody has."""
    routes = {route["dst"]: route for route in json.loads(lab.node("node2").run("ip", "-j", "route").stdout)}
    assert {"20.109.131.2", "20.109.131.3"} <= routes.keys()
    assert (routes["20.111.156.0/26"]["gateway"], routes["20.111.156.0/26"]["dev"]) == ("192.168.59.22", "eth0")
    assert routes["20.109.131.0/26"]["type"] == "blackhole"


def test_the_pods_address_is_kept_on_the_way(lab):
    """No NAT between pods; two routers in between."""
    there, here = lab.pod("pod-b").address, lab.pod("pod-d")
    assert here.seen_as(f"{there}:8080") == here.address
    assert "ttl=62 " in here.run("ping", "-c", "1", str(there)).stdout
