"""What this lab shows: a Service, a tunnel, and a route without which the packet gets lost."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, and the Service."""
    lab.probe()


def test_the_service_needs_the_route_to_the_other_node(lab):
    """Without it node2 sends the packet to its default gateway; node1, where Pod B is, needs none."""
    node1, node2 = lab.node("node1"), lab.node("node2")
    (route,) = node2.json("ip", "-j", "route", "show", "20.111.156.0/26")
    assert (route["dev"], route["gateway"]) == ("tunl0", "192.168.59.22")
    assert lab.pod("pod-d").http("http://10.103.9.116:8080/hostname").text == "pod-b"
    node2.run("ip", "route", "del", "20.111.156.0/26")
    assert not lab.pod("pod-d").ping("20.111.156.7")
    assert node1.http("http://10.103.9.116:8080/hostname").text == "pod-b"
