"""What this lab shows: packets between Pods are wrapped where a router lies between their nodes, and nowhere else."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


@pytest.fixture(autouse=True)
def as_shipped(lab):
    """Each test finds the lab as its file says it."""
    yield
    lab.set(encapsulation="IPIPCrossSubnet")


def carried(node, dev="tunl0"):
    """How many packets a node has sent through its tunnel."""
    (link,) = node.json("ip", "-j", "-s", "link", "show", dev)
    return link["stats64"]["tx"]["packets"]


def ways(node):
    """Device and next hop of a node's route to each other block."""
    routes = node.json("ip", "-j", "route")
    return {route["dst"]: (route["dev"], route["gateway"]) for route in routes if route["dst"].endswith("/26")
            and "gateway" in route}  # fmt: skip


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, across the router too, and the Service by each of its ways."""
    lab.probe()


def test_only_the_other_subnet_s_pods_are_behind_the_tunnel(lab):
    """node1 and node2 are neighbours; node3 is behind the router."""
    assert ways(lab.node("node1")) == {
        "20.109.131.0/26": ("eth0", "192.168.59.23"),
        "20.108.66.64/26": ("tunl0", "192.168.60.24"),
    }


@pytest.mark.parametrize(("mode", "wrapped"), [("IPIPCrossSubnet", False), ("IPIP", True)])
def test_between_neighbours_only_always_wraps(lab, mode, wrapped):
    """To the other subnet, both do."""
    lab.set(encapsulation=mode)
    node2, pod_d = lab.node("node2"), lab.pod("pod-d")
    before = carried(node2)
    assert pod_d.ping("20.111.156.7")
    assert (carried(node2) > before) is wrapped
    before = carried(node2)
    assert pod_d.ping("20.108.66.68")
    assert carried(node2) > before


def test_a_pod_has_one_mtu_whomever_it_speaks_to(lab):
    """It is the tunnel's, through the router as to a neighbour."""
    for target in ("20.108.66.68", "20.109.131.3"):
        assert lab.pod("pod-b").ping(target, size=1480)
        assert not lab.pod("pod-b").ping(target, size=1481)


def test_without_encapsulation_the_router_drops_it(lab):
    """It knows no Pods; once it does, nothing has to be wrapped."""
    lab.set(encapsulation="None")
    pod_b, router = lab.pod("pod-b"), lab.router()
    assert ways(lab.node("node1"))["20.108.66.64/26"] == ("eth0", "192.168.59.1")
    assert pod_b.ping("20.109.131.3")
    assert not pod_b.ping("20.108.66.68", timeout=0.5)
    lab.probe("pod-b")
    router.run("ip", "route", "add", "20.111.156.0/26", "via", "192.168.59.22")
    router.run("ip", "route", "add", "20.108.66.64/26", "via", "192.168.60.24")
    assert pod_b.ping("20.108.66.68", size=1500)


def test_a_client_in_one_subnet_and_a_node_port_in_the_other(lab):
    """The client's packet crosses the router as it is; who is seen depends on the node's own way to Pod B."""
    client = lab.client()
    assert client.http("node2:31080/hostname").text == "pod-b"
    assert str(client.seen_as("node2:31080")) == "192.168.59.23"
    assert str(client.seen_as("node3:31080")) == "20.108.66.64"


def test_names_are_answered_across_the_router(lab):
    """kube-dns is in the one subnet, Pod E in the other."""
    assert lab.pod("pod-e").http("svc-b:8080/hostname").text == "pod-b"
