"""Nine pods in three namespaces, as the recorded cases of NetworkPolicies have them, and real packets between all."""

from __future__ import annotations

import contextlib
import socket
import time
from itertools import permutations
from typing import TYPE_CHECKING, NamedTuple

from nslab.linux.netns import Namespaces
from nslab.linux.timeouts import scaled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.pytest_plugin.running import RunningLab

PORTS = (80, 81)
DEADLINE = 0.3
"""Seconds in which a packet arrives, or is denied."""
PODS = {f"{namespace}{name}": f"10.65.0.{start + number}"
        for namespace, start in (("x", 0), ("y", 16), ("z", 32)) for number, name in enumerate("abc", 1)}  # fmt: skip
_HEAD = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: policies}
spec:
  networks: {pods: 10.65.0.0/16}
  cni: {plugin: calico, encapsulation: %s, dataplane: %s}
  proxy: {mode: none}
  nodes:
"""
_POD = """\
---
apiVersion: v1
kind: Pod
metadata:
  name: %s
  namespace: %s
  labels: {pod: %s}
  annotations: {cni.projectcalico.org/ipAddrs: '["%s"]'}
spec:
  nodeName: %s
  containers:
  - name: c
    image: pause
    ports:
    - {containerPort: 80, name: serve-80-tcp}
    - {containerPort: 81, name: serve-81-tcp}
    - {containerPort: 80, name: serve-80-udp, protocol: UDP}
    - {containerPort: 81, name: serve-81-udp, protocol: UDP}
"""


class Packet(NamedTuple):
    """A connection's first packet, or a datagram."""

    source: str
    target: str
    protocol: str
    port: int


def text(encapsulation: str, *, spread: bool, dataplane: str = "iptables") -> str:
    """The lab: all pods on one node, or those of each namespace on a node of their own."""
    nodes = dict(zip("xyz", ("0/28", "16/28", "32/28"), strict=True)) if spread else {"x": "0/26"}
    lines = [f"  - {{name: node-{name}, podCIDR: 10.65.0.{cidr}}}\n" for name, cidr in nodes.items()]
    spaces = [f"---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{ns: {name}}}}}}}\n"
              for name in "xyz"]  # fmt: skip
    pods = [_POD % (pod[1], pod[0], pod[1], ip, f"node-{pod[0] if spread else 'x'}") for pod, ip in PODS.items()]
    return "".join([_HEAD % (encapsulation, dataplane), *lines, *spaces, *pods])


class Servers:
    """Sockets in all pods, which hear what comes; each round sends from ports of its own."""

    def __init__(self, lab: RunningLab) -> None:
        self._namespaces = {pod: lab.pod(f"{pod[0]}/{pod[1]}").netns for pod in PODS}
        self._listeners: dict[tuple[str, int], socket.socket] = {}
        self._heard: dict[tuple[str, int], socket.socket] = {}
        self._round = 0
        with Namespaces() as spaces:
            for pod in PODS:
                spaces.enter(self._namespaces[pod])
                for port in PORTS:
                    self._listeners[pod, port] = socket.create_server(("0.0.0.0", port), backlog=128)
                    self._heard[pod, port] = _datagrams(port)

    def arrived(self, wanted: set[Packet]) -> set[Packet]:
        """Which packets arrive, of all at once. Those that are `wanted` have longer, on a busy machine."""
        self._round += 1
        found: set[Packet] = set()
        began = time.monotonic()
        with contextlib.ExitStack() as opened:
            calls = self._sent(opened)
            while time.monotonic() < began + (DEADLINE if wanted <= found else scaled(5.0)):
                found |= {call for call, near in calls.items() if _is_connected(near)}
                found |= {*self._datagrams()}
                time.sleep(0.005)
        self._drained()
        return found

    def close(self) -> None:
        """Close all sockets."""
        for one in (*self._listeners.values(), *self._heard.values()):
            one.close()

    def _sent(self, opened: contextlib.ExitStack) -> dict[Packet, socket.socket]:
        calls = {}
        with Namespaces() as spaces:
            for source in PODS:
                spaces.enter(self._namespaces[source])
                # conntrack would take a port that was used before for an established flow.
                near = opened.enter_context(_datagrams(20_000 + self._round))
                for target, port in ((target, port) for target in PODS if target != source for port in PORTS):
                    near.sendto(source.encode(), (PODS[target], port))
                    call = opened.enter_context(
                        socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                    )
                    call.connect_ex((PODS[target], port))
                    calls[Packet(source, target, "TCP", port)] = call
        return calls

    def _datagrams(self) -> Iterator[Packet]:
        for (pod, port), heard in self._heard.items():
            with contextlib.suppress(BlockingIOError):
                while True:
                    yield Packet(heard.recv(16).decode(), pod, "UDP", port)

    def _drained(self) -> None:
        for listener in self._listeners.values():
            listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()


def everything() -> Iterator[Packet]:
    """All packets from each pod to each other."""
    for source, target in permutations(PODS, 2):
        yield from (Packet(source, target, protocol, port) for protocol in ("TCP", "UDP") for port in PORTS)


def without(denied: dict[str, Iterable[str]]) -> set[Packet]:
    """The packets that a recorded case allows."""
    closed = {name: {*pairs} for name, pairs in denied.items()}
    return {
        one
        for one in everything()
        if f"{one.source}>{one.target}" not in closed.get("all", closed.get(f"{one.protocol[0]}{one.port}", set()))
    }


def _datagrams(port: int) -> socket.socket:
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    one.bind(("0.0.0.0", port))
    return one


def _is_connected(near: socket.socket) -> bool:
    try:
        near.getpeername()
    except OSError:
        return False
    return True
