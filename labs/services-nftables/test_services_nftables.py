"""What this lab shows: one Service, four endpoints; nftables mode, one map look-up for all Services."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, and each Service by each of its ways, with its fair share for each endpoint."""
    lab.probe()


def test_the_rules_are_a_map(lab):
    """An address, a protocol and a port: the map leads to the chain of their Service."""
    table = lab.node("node1").run("nft", "list", "map", "ip", "kube-proxy", "service-ips").stdout
    assert "10.103.9.116 . tcp . 80 : goto service-" in table


def test_all_four_answer(lab):
    """By address, by name, and by any node's port."""
    names = {pod.name for pod in lab.pods(app="web")}
    assert len(names) == 4
    assert {lab.pod("box-1").http("web/hostname").text for _ in range(40)} == names
    assert {lab.client("client").http("node2:31080/hostname").text for _ in range(40)} == names


def test_a_client_stays_with_its_endpoint(lab):
    """sessionAffinity: ClientIP."""
    assert len({lab.pod("box-2").http("sticky/hostname").text for _ in range(20)}) == 1


def test_a_headless_service_is_the_names_of_its_pods(lab):
    """DNS gives a pod's address; nothing of kube-proxy's is asked."""
    assert lab.pod("box-1").resolve("headless") in {pod.address for pod in lab.pods(app="web")}


def test_endpoints_follow_the_pods(lab):
    """Two replicas less, two endpoints less, at once."""
    lab.scale("web", 2)
    names = {pod.name for pod in lab.pods(app="web")}
    assert len(names) == 2
    assert {lab.pod("box-1").http("web/hostname").text for _ in range(20)} == names
    lab.scale("web", 4)
