"""What this lab shows: a port of every node, nobody who listens on it, and whom the server sees."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, and the Service by each of its ways."""
    lab.probe()


@pytest.mark.parametrize("node", ["node1", "node2"])
def test_each_node_answers_and_nobody_listens(lab, node):
    """The rules alone do it."""
    assert lab.client().http(f"{node}:31080/hostname").text == "pod-b"
    assert lab.node(node).run("ss", "-Hltn", "sport = :31080").stdout == ""


def test_the_client_is_hidden_behind_the_nodes_tunnel(lab):
    """It leaves by tunl0; without encapsulation by eth0."""
    assert lab.client().http("node2:31080/clientip").text.startswith("20.109.131.0:")
    lab.set(encapsulation="None")
    assert lab.client().http("node2:31080/clientip").text.startswith("192.168.59.23:")
    lab.set(encapsulation="IPIP")
