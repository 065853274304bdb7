"""What this lab shows: the same promise in each proxy mode, and what is different; in one running lab."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


@pytest.mark.parametrize("mode", ["userspace", "iptables"])
def test_the_promise_is_the_same(lab, mode):
    """All pairs, and the Service by each of its ways."""
    lab.set(proxy_mode=mode)
    lab.probe()


@pytest.mark.parametrize(("mode", "seen"), [("userspace", "192.168.59.22"), ("iptables", "20.111.156.7")])
def test_who_is_seen_differs(lab, mode, seen):
    """In userspace mode a process stands between; in the others the pod is seen."""
    lab.set(proxy_mode=mode)
    assert lab.pod("box").http("web/clientip").text.startswith(f"{seen}:")


def test_only_a_process_listens(lab):
    """And only as long as its mode is."""
    lab.set(proxy_mode="userspace")
    assert "kube-proxy" in lab.node("node1").run("ss", "-Hltnp").stdout
    lab.set(proxy_mode="iptables")
    assert lab.node("node1").run("ss", "-Hltn").stdout == ""
