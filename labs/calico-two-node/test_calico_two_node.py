"""What this lab shows: pods on routers without a bridge, IP-in-IP between the nodes, and one Service."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, and the Service by each of its ways; what must fail, fails."""
    lab.probe()


def test_pods_talk_without_translation(lab):
    """Pod B sees Pod D itself, although they are on two nodes."""
    pod_b, pod_d = lab.pod("pod-b"), lab.pod("pod-d")
    assert pod_d.ping(pod_b)
    assert pod_d.http("http://20.111.156.7:8080/hostname").text == "pod-b"
    assert pod_d.seen_as("http://20.111.156.7:8080") == pod_d.address


def test_the_way_to_the_other_node_is_a_tunnel(lab):
    """IP-in-IP takes 20 bytes of each packet."""
    (route,) = lab.node("node2").json("ip", "-j", "route", "show", "20.111.156.0/26")
    assert (route["dev"], route["gateway"]) == ("tunl0", "192.168.59.22")
    assert lab.pod("pod-d").ping("20.111.156.7", size=1480)
    assert not lab.pod("pod-d").ping("20.111.156.7", size=1481)


def test_a_pod_s_gateway_is_no_machine(lab):
    """Its node answers for 169.254.1.1, with an address that all of them have."""
    pod = lab.pod("pod-a")
    assert pod.json("ip", "-j", "route")[0]["gateway"] == "169.254.1.1"
    pod.ping("20.111.156.7")
    (gateway,) = pod.json("ip", "-j", "neigh", "show", "169.254.1.1")
    assert gateway["lladdr"] == "ee:ee:ee:ee:ee:ee"


def test_the_service_by_name(lab):
    """The pod's own resolver finds it; the server sees the pod."""
    pod = lab.pod("pod-c")
    assert str(pod.resolve("svc-b")) == "10.103.9.116"
    assert pod.http("svc-b:8080/hostname").text == "pod-b"
    assert pod.seen_as("svc-b:8080") == pod.address


def test_the_node_port_puts_the_node_in_the_client_s_place(lab):
    """node1 has Pod B itself; node2 sends it through the tunnel, and so from tunl0's address.

    On node1 the way leads through cali…, which has no address: the kernel takes that of the oldest interface that has
    one. That is eth0, or tunl0 if the ipip driver put it into the namespace before.
    """
    client = lab.client("client")
    assert client.http("node1:31080/hostname").text == "pod-b"
    assert str(client.seen_as("node1:31080")) in ("192.168.59.22", "20.111.156.0")
    assert str(client.seen_as("node2:31080")) == "20.109.131.0"


def test_the_world_outside_has_no_way_to_a_pod(lab):
    """A pod's address means nothing beyond the cluster."""
    assert not lab.client("client").connect("20.111.156.7", 8080)
