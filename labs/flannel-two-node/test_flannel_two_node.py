"""What this lab shows: flannel's bridge, its tunnel, and three entries for each other node."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, and the Service by each of its ways; what must fail, fails."""
    lab.probe()


def test_the_way_to_the_other_node_is_a_route_a_neighbour_and_a_forwarding_entry(lab):
    """Each leads to the next one, and the last one to the node."""
    node1 = lab.node("node1")
    (route,) = node1.json("ip", "-j", "route", "show", "10.244.2.0/24")
    assert (route["dev"], route["gateway"], route["flags"]) == ("flannel.1", "10.244.2.0", ["onlink"])
    (neighbour,) = node1.json("ip", "-j", "neigh", "show", "dev", "flannel.1")
    assert (neighbour["dst"], neighbour["state"]) == (route["gateway"], ["PERMANENT"])
    (entry,) = node1.json("bridge", "-j", "fdb", "show", "dev", "flannel.1")
    assert (entry["mac"], entry["dst"]) == (neighbour["lladdr"], "192.168.59.23")


def test_the_tunnel_is_vxlan_on_the_port_of_linux(lab):
    """Id 1, UDP port 8472, 50 bytes less for the pods."""
    (device,) = lab.node("node1").json("ip", "-j", "-d", "link", "show", "flannel.1")
    data = device["linkinfo"]["info_data"]
    assert (data["id"], data["port"], data["learning"], device["mtu"]) == (1, 8472, False, 1450)
    pod_a, pod_d = lab.pod("pod-a"), lab.pod("pod-d")
    assert pod_a.ping(pod_d, size=1450)
    assert not pod_a.ping(pod_d, size=1451)


def test_pods_are_plugged_into_a_bridge(lab):
    """cni0 is their gateway, and lets a packet out of the port that it came in by (hairpin)."""
    ports = [port for port in lab.node("node1").json("bridge", "-d", "-j", "link") if port.get("master") == "cni0"]
    assert len(ports) == len([pod for pod in lab.pods() if pod.node == "node1"])
    assert all(port["hairpin"] for port in ports)
    assert lab.pod("pod-b").http("svc-b:8080/hostname").text == "pod-b"


def test_without_the_tunnel_there_is_one_entry_and_the_whole_packet(lab):
    """host-gw, in the running lab, and back."""
    lab.set(backend="host-gw")
    node1 = lab.node("node1")
    (route,) = node1.json("ip", "-j", "route", "show", "10.244.2.0/24")
    assert (route["dev"], route["gateway"]) == ("eth0", "192.168.59.23")
    assert "flannel.1" not in {link["ifname"] for link in node1.json("ip", "-j", "link")}
    assert lab.pod("pod-a").ping(lab.pod("pod-d"), size=1500)
    lab.probe()
    lab.set(backend="vxlan")
    assert lab.diff() == []
    lab.probe()
