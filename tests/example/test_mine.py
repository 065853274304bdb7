"""A lab of your own, tested: sudo pytest tests/example"""

import pytest


@pytest.mark.lab("mine.yaml")
@pytest.mark.parametrize("url", ["web/hostname", "web.default.svc:80/hostname"])
def test_the_service_answers_by_name(lab, url):
    assert lab.pod("shell").http(url).text == "web"
    assert lab.pod("shell").seen_as("web") == lab.pod("shell").address


@pytest.mark.lab("mine.yaml", proxy_mode="nftables", encapsulation="IPIP")
def test_the_same_by_other_means(lab):
    lab.probe()
    assert lab.client("client").http("node2:30080/hostname").text == "web"
    assert "table ip kube-proxy" in lab.node("node2").run("nft", "list", "tables").stdout
