"""From mode to mode: what is left of the old one, what becomes of connections; and UDP, whose endpoints move."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest

from nslab.linux.netns import Namespaces
from tests.kernel.labkit import OwnLab, nslab
from tests.kernel.test_services import Line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root
WALK = (
    "iptables", "none", "nftables", "none", "userspace", "iptables", "nftables", "iptables", "userspace", "nftables",
    "userspace", "none",
)  # fmt: skip
"""From none, over each of the ways from one mode to another."""
NODES_PORTS = "ss -Hlntu | awk '{print $1, $5}' | sort"
FIRST, SECOND = "{addresses: [20.111.156.7], nodeName: node1}", "{addresses: [20.109.131.3], nodeName: node2}"
ECHO = """
apiVersion: v1
kind: Service
metadata: {{name: moving}}
spec: {{type: NodePort, clusterIP: 10.103.9.50, ports: [{{port: 81, protocol: UDP, nodePort: 31500}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: moving-1, labels: {{kubernetes.io/service-name: moving}}}}
addressType: IPv4
endpoints: [{}]
ports: [{{port: 8081, protocol: UDP}}]
"""


@pytest.fixture
def own(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OwnLab]:
    """The services lab in the mode that the test names, up."""
    mode = getattr(request, "param", "iptables")
    lab = OwnLab(tmp_path, "services-iptables")
    if mode != "iptables":
        lab.edit("proxy: {mode: iptables}", f"proxy: {{mode: {mode}}}")
    try:
        lab.up()
        yield lab
    finally:
        nslab("down", lab.name)
    assert lab.left() == []


def kernel(own: OwnLab, host: str) -> set[str]:
    """All that a proxy mode may leave on a node, without the empty tables that iptables never removes."""
    shown = (
        "iptables-save; nft -s list tables; ipset list -n; sysctl -a -r '^net.ipv4'; ip -o link; ip -o -4 address; "
        + NODES_PORTS
    )
    lines = own.sh(host, f"({shown}) 2>/dev/null").splitlines()
    passing = re.compile(
        r"#|\*|COMMIT|:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) |table ip (filter|nat|mangle|raw)$"
    )
    return {re.sub(r"\[\d+:\d+\]|valid_lft.*", "", line) for line in lines if not passing.match(line)}


def switched(own: OwnLab, mode: str) -> str:
    """The output of `set`, which must succeed."""
    done = nslab("set", own.name, f"proxy-mode={mode}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("own", ["none"], indirect=True)
def test_each_mode_to_each_other_leaves_nothing_and_keeps_what_the_kernel_can(own: OwnLab) -> None:
    seen = {"none": kernel(own, "node1")}
    lines: list[tuple[Line, str]] = []
    before = "none"
    for mode in WALK:
        switched(own, mode)
        assert own.differences() == [], f"{before} to {mode}"
        now = kernel(own, "node1")
        assert seen.setdefault(mode, now) == now, f"{before} to {mode}"
        assert ("node1 kube-proxy" in own.pids()) == (mode != "none")
        if before == "userspace":
            # The proxy's own connections end with it.
            for line, _ in lines:
                line.close()
            lines = []
        for line, answer in lines:
            assert line.asks() == answer, f"{before} to {mode}"
        if mode != "none":
            line = Line(own, "box-1")
            lines.append((line, line.asks()))
        assert switched(own, mode).endswith("; 0 steps\n")
        before = mode
    for line, _ in lines:
        line.close()


class Asker:
    """A UDP client that keeps its port."""

    def __init__(self, own: OwnLab, host: str, where: tuple[str, int]) -> None:
        with Namespaces() as spaces:
            spaces.enter(own.ns(host))
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(("", 0))
        self._where = where
        self._socket.settimeout(2)

    def asks(self) -> str:
        """Who answers."""
        self._socket.sendto(b"hostname", self._where)
        return self._socket.recv(100).decode()

    def unheard(self) -> None:
        """Send to nobody: a flow comes into being all the same."""
        with contextlib.suppress(PermissionError):  # refused where it starts
            self._socket.sendto(b"hostname", self._where)

    def close(self) -> None:
        self._socket.close()


@pytest.mark.parametrize("own", ["iptables", "nftables", "userspace"], indirect=True)
def test_a_udp_client_that_keeps_its_port_follows_the_endpoints(own: OwnLab) -> None:
    def put(*ends: str) -> None:
        done = nslab("apply", own.name, "-f", "-", input=ECHO.format(", ".join(ends)))
        assert done.returncode == 0, done.stderr

    first, second = ends = [pod_endpoint(own, node) for node in ("node1", "node2")]
    put(first[1])
    wheres = [("box-2", ("10.103.9.50", 81)), ("node2", ("10.103.9.50", 81)), ("client", ("192.168.59.23", 31500))]
    askers = [Asker(own, host, where) for host, where in wheres]

    def who() -> set[str]:
        return {asker.asks() for asker in askers}

    assert who() == {first[0]}
    put(second[1])
    assert who() == {second[0]}
    put()
    for asker in askers:
        asker.unheard()
    put(first[1])
    assert who() == {first[0]}
    for mode in ("userspace", "iptables", "nftables"):
        switched(own, mode)
        for name, end in reversed(ends):
            put(end)
            assert who() == {name}, mode
    for asker in askers:
        asker.close()


def pod_endpoint(own: OwnLab, node: str) -> tuple[str, str]:
    """A replica on a node, and it as an endpoint."""
    lab = own.lab()
    pod = next(pod for pod in lab.pods if pod.node == node and pod.name.startswith("web-"))
    return pod.name, f"{{addresses: [{pod.assigned}], nodeName: {node}}}"
