"""`up` with an edited file changes what differs, live; what does not differ runs on, with its connections."""

from __future__ import annotations

import socket
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from nslab.lab.types import Encapsulation
from nslab.linux.netns import Namespaces
from nslab.net.names import cali
from tests.kernel.labkit import OwnLab, nslab, processes, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

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
def own(tmp_path: Path) -> Iterator[OwnLab]:
    """calico-two-node, up."""
    lab = OwnLab(tmp_path)
    try:
        lab.up()
        yield lab
    finally:
        nslab("down", lab.name)
    assert lab.left() == []


class Connection:
    """A TCP connection that stays open, from pod-a on node1 to a server in pod-c on node2."""

    def __init__(self, own: OwnLab) -> None:
        with Namespaces() as spaces:
            spaces.enter(own.ns("pod-c"))
            self._listener = socket.create_server(("20.109.131.2", 7777))
            spaces.enter(own.ns("pod-a"))
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
def connection(own: OwnLab) -> Iterator[Connection]:
    made = Connection(own)
    try:
        assert made.echoes()
        yield made
    finally:
        made.close()


def pod(own: OwnLab, name: str) -> str:
    """A pod's document in the file."""
    (found,) = [
        text for text in own.file.read_text().split("\n---\n") if f"name: {name}," in text or f"name: {name}}}" in text
    ]
    return found


def anew(before: dict[str, int], after: dict[str, int]) -> set[str]:
    """What was started since, or restarted."""
    return {whose for whose, number in after.items() if before.get(whose) != number}


def test_a_pod_more(own: OwnLab, connection: Connection) -> None:
    before = own.pids()
    first, *pods = own.file.read_text().split("\n---\n")
    own.write("\n---\n".join([first, POD_E.strip().removeprefix("---\n"), *pods]))  # before all others
    own.up()
    after = own.pids()
    assert anew(before, after) == {"pod-e pause", "pod-e container/app"}
    assert before.items() <= after.items()
    for name, address in (("pod-a", "20.111.156.6"), ("pod-b", "20.111.156.7"), ("pod-d", "20.109.131.3")):
        assert address in own.sh(name, "ip -br address show eth0")
    address = own.sh("pod-e", "ip -br address show eth0").split()[2].removesuffix("/32")
    assert own.talks("pod-d", address)
    assert connection.echoes()
    assert own.differences() == []


def test_a_pod_less(own: OwnLab, connection: Connection) -> None:
    before = own.pids()
    shell = subprocess.Popen(["ip", "netns", "exec", own.ns("pod-d"), "sleep", "infinity"])
    text = own.file.read_text()
    own.write(text.replace(f"\n---\n{pod(own, 'pod-d')}", ""))
    own.up()
    after = own.pids()
    assert anew(before, after) == set()
    assert before.keys() - after.keys() == {"pod-d pause", "pod-d container/app"}
    assert shell.wait(5) == -9, "what runs in a pod that is no more ends with it"
    assert own.ns("pod-d") not in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert cali("default", "pod-d") not in own.sh("node2", "ip link")
    assert "20.109.131.3" not in own.sh("node2", "ip route; ip neigh")
    assert connection.echoes()
    assert own.differences() == []
    own.write(text)
    own.up()
    assert own.talks("pod-a", "20.109.131.3")


def test_a_pod_on_another_node(own: OwnLab, connection: Connection) -> None:
    before = own.pids()
    moved = pod(own, "pod-d").replace("node2", "node1").replace("20.109.131.3", "20.111.156.9")
    own.write(own.file.read_text().replace(pod(own, "pod-d"), moved))
    own.up()
    assert anew(before, own.pids()) == {"pod-d pause", "pod-d container/app"}
    assert cali("default", "pod-d") in own.sh("node1", "ip link")
    assert cali("default", "pod-d") not in own.sh("node2", "ip link")
    assert own.talks("pod-c", "20.111.156.9")
    assert connection.echoes()
    assert own.differences() == []


def test_a_container_with_other_arguments(own: OwnLab, connection: Connection) -> None:
    before = own.pids()
    changed = pod(own, "pod-d").replace("8080", "8090")
    own.write(own.file.read_text().replace(pod(own, "pod-d"), changed))
    own.up()
    assert anew(before, own.pids()) == {"pod-d container/app"}
    assert own.talks("pod-a", "20.109.131.3", 8090)
    assert not own.talks("pod-a", "20.109.131.3", 8080)
    assert connection.echoes()
    assert own.differences() == []


def test_a_client_and_a_node_more(own: OwnLab, connection: Connection) -> None:
    before = own.pids()
    own.edit("  clients:\n", "  clients:\n  - {name: guest, address: 192.168.59.11}\n")
    own.edit(
        "  - {name: node2,", "  - {name: node3, address: 192.168.59.24, podCIDR: 20.110.1.0/26}\n  - {name: node2,"
    )
    own.write(own.file.read_text() + POD_E.replace("node1", "node3"))
    own.up()
    after = own.pids()
    assert anew(before, after) == {
        "guest node", "node3 node", "node3 tunnel", "node3 kube-proxy", "pod-e pause", "pod-e container/app",
    }  # fmt: skip
    assert own.talks("pod-e", "20.109.131.3")
    assert "192.168.59.24" in own.sh("node1", "ipset list cali40all-hosts-net")
    assert connection.echoes()
    assert own.differences() == []


def test_a_node_less(own: OwnLab) -> None:
    text = own.file.read_text()
    for name in ("pod-c", "pod-d"):
        own.write(own.file.read_text().replace(f"\n---\n{pod(own, name)}".rstrip("\n"), ""))
    own.edit("  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/26}\n", "")
    own.up()
    assert {whose.split(" ")[0] for whose in own.pids()} == {
        "node1", "client", "control", "pod-a", "pod-b", "kube-system_kube-dns",
    }  # fmt: skip
    assert "20.109.131" not in own.sh("node1", "ip route")
    assert own.differences() == []
    own.write(text)
    own.up()
    assert own.talks("pod-a", "20.109.131.3")


@pytest.mark.parametrize("encapsulation", list(Encapsulation))
def test_another_encapsulation_and_back(own: OwnLab, connection: Connection, encapsulation: Encapsulation) -> None:
    before = own.pids()
    own.up("--encapsulation", encapsulation)
    assert own.differences() == []
    assert connection.echoes()
    assert own.talks("pod-d", "20.111.156.7")
    own.up()  # what the file says goes
    assert own.differences() == []
    assert "proto bird onlink" in own.sh("node1", "ip route show dev tunl0")
    assert connection.echoes()
    # Without tunl0 its address is none that node ports are reached at: kube-proxies are started with the addresses.
    told = {"node1 kube-proxy", "node2 kube-proxy"} if encapsulation is Encapsulation.NONE else set()
    assert anew(before, own.pids()) <= {"node1 tunnel", "node2 tunnel"} | told


def test_every_change_leaves_no_process_behind(own: OwnLab) -> None:
    count = len(processes(own.name))
    for _ in range(3):
        own.up("--encapsulation", "VXLAN")
        own.up()
    until(lambda: len(processes(own.name)) == count)
