"""What this lab shows: two containers, one pod, one network."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def test_two_ports_of_one_address(lab):
    """From the node, the two servers differ by their ports alone."""
    node = lab.node("node1")
    assert node.http("20.111.156.66:8000/hostname").text == "pod-1"
    assert node.http("20.111.156.66:8080/hostname").text == "pod-1"


def test_they_share_the_loopback(lab):
    """Each reaches the other as localhost."""
    pod = lab.pod("pod-1")
    assert pod.run("curl", "-s", "localhost:8080/hostname", container="first").stdout == "pod-1"
    assert pod.run("curl", "-s", "localhost:8000/hostname", container="second").stdout == "pod-1"


def test_they_are_in_the_namespaces_that_pause_holds(lab):
    """The same network, host name and IPC; each its own processes and files."""
    pod = lab.pod("pod-1")

    def namespace(container, kind):
        return pod.run("readlink", f"/proc/self/ns/{kind}", container=container).stdout

    for kind in ("net", "uts", "ipc"):
        assert namespace("first", kind) == namespace("second", kind)
    for kind in ("pid", "mnt"):
        assert namespace("first", kind) != namespace("second", kind)


def test_all_is_as_it_should_be(lab):
    """Nothing of the lab differs from its wish."""
    assert lab.diff() == []
