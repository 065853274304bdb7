"""What this lab shows: a bridge on each node, and plain routes between the nodes."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, and the Service by each of its ways; what must fail, fails."""
    lab.probe()


def test_pods_are_plugged_into_a_bridge(lab):
    """cbr0 is their gateway, and lets a packet out of the port that it came in by (hairpin)."""
    ports = [port for port in lab.node("node1").json("bridge", "-d", "-j", "link") if port.get("master") == "cbr0"]
    on_node1 = [pod for pod in lab.pods() if pod.node == "node1"]
    assert len(ports) == len(on_node1) > 1
    assert all(port["hairpin"] for port in ports)


def test_the_way_to_the_other_node_is_a_route(lab):
    """No overlay: packets keep their full size, and their source."""
    (route,) = lab.node("node1").json("ip", "-j", "route", "show", "20.96.2.0/24")
    assert (route["dev"], route["gateway"]) == ("eth0", "192.168.59.23")
    pod_a, pod_d = lab.pod("pod-a"), lab.pod("pod-d")
    assert pod_a.ping(pod_d, size=1500)
    assert pod_a.seen_as(f"{pod_d.address}:8080") == pod_a.address


def test_a_pod_reaches_itself_by_its_service(lab):
    """Out to the bridge and back by the same port; masqueraded, or the answer would go astray."""
    pod_b = lab.pod("pod-b")
    assert pod_b.http("svc-b:8080/hostname").text == "pod-b"
    assert pod_b.seen_as("svc-b:8080") != pod_b.address


def test_the_world_outside_sees_the_node(lab):
    """The one masquerade rule: what leaves the cluster leaves it as its node."""
    assert lab.pod("pod-d").ping(lab.client("client"))
    assert not lab.client("client").connect(lab.pod("pod-d"), 8080)
