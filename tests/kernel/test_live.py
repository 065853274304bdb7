"""`up` with an edited file changes what differs, live; what does not differ runs on, with its connections."""

from __future__ import annotations

import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from nslab.lab.find import find
from nslab.lab.types import Encapsulation
from nslab.linux.netns import Namespaces
from nslab.objects.names import cali, netns
from tests.kernel.labkit import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("calico-two-node", scope="module")]
TEXT = find("calico-two-node").read_text()

POD_E = """
---
apiVersion: v1
kind: Pod
metadata: {name: pod-e}
spec:
  nodeName: node1
  containers:
  - {name: app, image: agnhost, args: [netexec, --http-port=8080], ports: [{containerPort: 8080}]}
"""


@pytest.fixture
def own(lab: RunningLab) -> Iterator[RunningLab]:
    """calico-two-node, up; whatever a test made of it, its file makes of it what it was."""
    yield lab
    lab.up(TEXT)
    assert lab.diff() == []


class Connection:
    """A TCP connection that stays open, from pod-a on node1 to a server in pod-c on node2."""

    def __init__(self, lab: RunningLab) -> None:
        with Namespaces() as spaces:
            spaces.enter(lab.pod("pod-c").netns)
            self._listener = socket.create_server(("20.109.131.2", 7777))
            spaces.enter(lab.pod("pod-a").netns)
            self._near = socket.create_connection(("20.109.131.2", 7777), timeout=5)
            self._far, _ = self._listener.accept()
            self._far.settimeout(5)

    def echoes(self) -> bool:
        """Whether something said on it comes back."""
        self._near.sendall(b"x" * 20_000)
        there = threading.Thread(target=lambda: self._far.sendall(self._all(self._far)))
        there.start()
        back = self._all(self._near)
        there.join()
        return back == b"x" * 20_000

    def _all(self, end: socket.socket) -> bytes:
        data = b""
        while len(data) < 20_000:
            data += end.recv(20_000)
        return data

    def close(self) -> None:
        for end in (self._listener, self._near, self._far):
            end.close()


@pytest.fixture
def connection(own: RunningLab) -> Iterator[Connection]:
    made = Connection(own)
    try:
        assert made.echoes()
        yield made
    finally:
        made.close()


def pod(name: str) -> str:
    """A pod's document in the file."""
    (found,) = [text for text in TEXT.split("\n---\n") if f"name: {name}," in text or f"name: {name}}}" in text]
    return found


def edited(text: str, old: str, new: str) -> str:
    """The text with one place changed."""
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the file"
    return text.replace(old, new)


def answers(lab: RunningLab, who: str, address: str, port: int = 8080) -> bool:
    """Whether a pod's server answers a pod."""
    return lab.pod(who).http(f"{address}:{port}/hostname").status == 200


def anew(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """What was started since, or restarted."""
    return {whose for whose, number in after.items() if before.get(whose) != number}


def test_a_pod_more(own: RunningLab, connection: Connection) -> None:
    before = own.processes()
    first, *pods = TEXT.split("\n---\n")
    own.up("\n---\n".join([first, POD_E.strip().removeprefix("---\n"), *pods]))  # before all others
    after = own.processes()
    assert anew(before, after) == {"pod-e pause", "pod-e container/app"}
    assert before.items() <= after.items()
    for name, address in (("pod-a", "20.111.156.6"), ("pod-b", "20.111.156.7"), ("pod-d", "20.109.131.3")):
        assert address in own.sh(name, "ip -br address show eth0")
    address = own.sh("pod-e", "ip -br address show eth0").split()[2].removesuffix("/32")
    assert answers(own, "pod-d", address)
    assert connection.echoes()
    assert own.diff() == []


def test_a_pod_less(own: RunningLab, connection: Connection) -> None:
    before = own.processes()
    shell = subprocess.Popen(["ip", "netns", "exec", netns(own.name, "pod-d"), "sleep", "infinity"])
    own.up(edited(TEXT, f"\n---\n{pod('pod-d')}", ""))
    after = own.processes()
    assert anew(before, after) == set()
    assert before.keys() - after.keys() == {"pod-d pause", "pod-d container/app"}
    assert shell.wait(5) == -9, "what runs in a pod that is no more ends with it"
    assert netns(own.name, "pod-d") not in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert cali("default", "pod-d") not in own.sh("node2", "ip link")
    assert "20.109.131.3" not in own.sh("node2", "ip route; ip neigh")
    assert connection.echoes()
    assert own.diff() == []
    own.up(TEXT)
    assert answers(own, "pod-a", "20.109.131.3")


def test_a_pod_on_another_node(own: RunningLab, connection: Connection) -> None:
    before = own.processes()
    moved = pod("pod-d").replace("node2", "node1").replace("20.109.131.3", "20.111.156.9")
    own.up(edited(TEXT, pod("pod-d"), moved))
    assert anew(before, own.processes()) == {"pod-d pause", "pod-d container/app"}
    assert cali("default", "pod-d") in own.sh("node1", "ip link")
    assert cali("default", "pod-d") not in own.sh("node2", "ip link")
    assert answers(own, "pod-c", "20.111.156.9")
    assert connection.echoes()
    assert own.diff() == []


def test_a_container_with_other_arguments(own: RunningLab, connection: Connection) -> None:
    before = own.processes()
    own.up(edited(TEXT, pod("pod-d"), pod("pod-d").replace("8080", "8090")))
    assert anew(before, own.processes()) == {"pod-d container/app"}
    assert answers(own, "pod-a", "20.109.131.3", 8090)
    assert not own.pod("pod-a").connect("20.109.131.3", 8080)
    assert connection.echoes()
    assert own.diff() == []


def test_a_client_and_a_node_more(own: RunningLab, connection: Connection) -> None:
    before = own.processes()
    text = edited(TEXT, "  clients:\n", "  clients:\n  - {name: guest, address: 192.168.59.11}\n")
    third = "  - {name: node3, address: 192.168.59.24, podCIDR: 20.110.1.0/26}\n  - {name: node2,"
    own.up(edited(text, "  - {name: node2,", third) + POD_E.replace("node1", "node3"))
    after = own.processes()
    assert anew(before, after) == {
        "guest node", "node3 node", "node3 tunnel", "node3 kube-proxy", "node3 felix", "pod-e pause",
        "pod-e container/app",
    }  # fmt: skip
    assert answers(own, "pod-e", "20.109.131.3")
    assert "192.168.59.24" in own.sh("node1", "ipset list cali40all-hosts-net")
    assert connection.echoes()
    assert own.diff() == []


def test_a_node_less(own: RunningLab) -> None:
    text = edited(TEXT, "  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/26}\n", "")
    for name in ("pod-c", "pod-d"):
        text = edited(text, f"\n---\n{pod(name)}".rstrip("\n"), "")
    own.up(text)
    assert {whose.split(" ")[0] for whose in own.processes()} == {
        "node1", "client", "control", "pod-a", "pod-b", "kube-system_kube-dns",
    }  # fmt: skip
    assert "20.109.131" not in own.sh("node1", "ip route")
    assert own.diff() == []
    own.up(TEXT)
    assert answers(own, "pod-a", "20.109.131.3")


@pytest.mark.parametrize("encapsulation", list(Encapsulation))
def test_another_encapsulation_and_back(own: RunningLab, connection: Connection, encapsulation: Encapsulation) -> None:
    before = own.processes()
    own.up(TEXT, encapsulation=encapsulation)
    assert own.diff() == []
    assert connection.echoes()
    assert answers(own, "pod-d", "20.111.156.7")
    own.up(TEXT)  # what the file says goes
    assert own.diff() == []
    assert "proto bird onlink" in own.sh("node1", "ip route show dev tunl0")
    assert connection.echoes()
    assert anew(before, own.processes()) <= {"node1 tunnel", "node2 tunnel"}


def test_every_change_leaves_no_process_behind(own: RunningLab) -> None:
    count = len(processes(own.name))
    for _ in range(3):
        own.up(TEXT, encapsulation="VXLAN")
        own.up(TEXT)
    own.wait(lambda: len(processes(own.name)) == count)
