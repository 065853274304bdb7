"""From mode to mode: what is left of the old one, what becomes of connections; and UDP, whose endpoints move."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING

import pytest

from nslab.linux.netns import Namespaces
from nslab.objects.names import netns
from tests.kernel.labkit import nslab
from tests.kernel.test_services import Line

if TYPE_CHECKING:
    from nslab.pytest_plugin.running import RunningLab

pytestmark = pytest.mark.root
LAB = "services-iptables"
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


def kernel(lab: RunningLab, host: str) -> set[str]:
    """All that a proxy mode may leave on a node, without the empty tables that iptables never removes."""
    shown = (
        "iptables-save; nft -s list tables; ipset list -n; sysctl -a -r '^net.ipv4'; ip -o link; ip -o -4 address; "
        + NODES_PORTS
    )
    lines = lab.sh(host, f"({shown}) 2>/dev/null").splitlines()
    passing = re.compile(
        r"#|\*|COMMIT|:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) |table ip (filter|nat|mangle|raw)$"
    )
    return {re.sub(r"\[\d+:\d+\]|valid_lft.*", "", line) for line in lines if not passing.match(line)}


def switched(lab: RunningLab, mode: str) -> str:
    """The output of `set`, which must succeed."""
    done = nslab("set", lab.name, f"proxy-mode={mode}")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.lab(LAB, proxy_mode="none")
def test_each_mode_to_each_other_leaves_nothing_and_keeps_what_the_kernel_can(lab: RunningLab) -> None:
    seen = {"none": kernel(lab, "node1")}
    lines: list[tuple[Line, str]] = []
    before = "none"
    for mode in WALK:
        switched(lab, mode)
        assert lab.diff() == [], f"{before} to {mode}"
        now = kernel(lab, "node1")
        assert seen.setdefault(mode, now) == now, f"{before} to {mode}"
        assert ("node1 kube-proxy" in lab.processes()) == (mode != "none")
        if before == "userspace":
            # The proxy's own connections end with it.
            for line, _ in lines:
                line.close()
            lines = []
        for line, answer in lines:
            assert line.asks() == answer, f"{before} to {mode}"
        if mode != "none":
            line = Line(lab, "box-1")
            lines.append((line, line.asks()))
        assert switched(lab, mode).endswith("; 0 steps\n")
        before = mode
    for line, _ in lines:
        line.close()


class Asker:
    """A UDP client that keeps its port."""

    def __init__(self, lab: RunningLab, host: str, where: tuple[str, int]) -> None:
        with Namespaces() as spaces:
            spaces.enter(netns(lab.name, host))
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


@pytest.mark.lab(LAB)
def test_a_udp_client_that_keeps_its_port_follows_the_endpoints(lab: RunningLab) -> None:
    def put(*ends: str) -> None:
        lab.apply(ECHO.format(", ".join(ends)))

    first, second = (pod_endpoint(lab, node) for node in ("node1", "node2"))
    put(first[1])
    wheres = [("box-2", ("10.103.9.50", 81)), ("node2", ("10.103.9.50", 81)), ("client", ("192.168.59.23", 31500))]
    askers = [Asker(lab, host, where) for host, where in wheres]

    def who() -> set[str]:
        return {asker.asks() for asker in askers}

    for mode in ("iptables", "userspace", "iptables", "nftables"):
        switched(lab, mode)
        for name, end in (first, second):
            put(end)
            assert who() == {name}, mode
        put()
        for asker in askers:
            asker.unheard()
        put(first[1])
        assert who() == {first[0]}, mode
    for asker in askers:
        asker.close()


def pod_endpoint(lab: RunningLab, node: str) -> tuple[str, str]:
    """A replica on a node, and it as an endpoint."""
    pod = next(pod for pod in lab.desired.pods if pod.node == node and pod.name.startswith("web-"))
    return pod.name, f"{{addresses: [{pod.assigned}], nodeName: {node}}}"
