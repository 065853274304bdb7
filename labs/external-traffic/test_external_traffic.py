"""What this lab shows: who is seen as the source of what comes from outside, and who may come in at all."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, and each Service by each of its ways, from inside and from outside."""
    lab.probe()


@pytest.mark.parametrize("node", ["node1", "node2", "node3"])
def test_policy_cluster_every_node_answers_in_its_own_name(lab, node):
    """The server sees the node that the client asked."""
    assert lab.client("client").seen_as(f"{node}:31080") == lab.node(node).address


@pytest.mark.parametrize(("node", "pod"), [("node1", "web-1"), ("node2", "web-2")])
def test_policy_local_a_node_sends_to_its_own_pods(lab, node, pod):
    """The server sees the client itself."""
    client = lab.client("client")
    assert client.http(f"{node}:31081/hostname").text == pod
    assert client.seen_as(f"{node}:31081") == client.address


def test_policy_local_a_node_without_pods_is_silent(lab):
    """No refusal, so that a load balancer's health check finds out by its own port."""
    assert not lab.client("client").connect("192.168.59.24", 31081, timeout=1)
    assert lab.client("client").http("node1:32000/healthz").status == 200
    assert lab.client("client").http("node3:32000/healthz").status == 503


def test_source_ranges_let_one_client_in(lab):
    """What the others send to the load balancer's address is dropped; a node port has no such guard."""
    client, stranger = lab.client("client"), lab.client("stranger")
    assert client.http("192.168.59.241/hostname").text in ("web-1", "web-2")
    assert not stranger.connect("192.168.59.241", 80, timeout=1)
    assert stranger.http("node1:31082/hostname").text in ("web-1", "web-2")
