"""userspace mode on the real kernel: clients go through the rules to the proxy process, and on to agnhost in pods."""

from __future__ import annotations

import errno
import json
import os
import select
import socket
import subprocess
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from nodebench import Bench, sh, until

from nslab.proxy import userspace
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo, to_json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.ruletext.items import Items

VIP, NODE, BRIDGE, CLIENT = "10.96.0.1", "192.168.59.22", "20.96.1.1", "192.168.59.10"
PODS = {"p1": "20.96.1.2", "p2": "20.96.1.3", "p3": "20.96.1.4"}
PROXY = Proxy("node1", (NODE, BRIDGE), "userspace")
ENDS = tuple(Endpoint(address, 8080, "node1") for address in PODS.values())
HTTP, ASK, ECHO = (
    Port("http", 80, "TCP", 30080, ENDS),
    Port("ask", 53, "UDP", 30053, tuple(replace(end, port=8081) for end in ENDS)),
    Port("echo", 7, "TCP", 0, tuple(replace(end, port=8007) for end in ENDS)),
)
WEB = ServiceInfo("default", "web", VIP, (HTTP, ASK, ECHO), type="NodePort")

DRIVER = """
import asyncio, json, sys
from nslab.components.kubeproxy.balancer import Balancer
from nslab.proxy.model import proxy_from_json, service_from_json

async def main():
    balancer, loop = Balancer(), asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        services, proxy = json.loads(line)
        told = {key: said and service_from_json(said) for key, said in services.items()}
        await balancer.update(told, proxy_from_json(proxy))
        print("done", flush=True)
    await balancer.close()

asyncio.run(main())
"""


class Wired:
    """A node with kubenet's bridge, three pods behind it that run agnhost, a client, and the proxy's process."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.running = bench, list[subprocess.Popen[str]]()
        self.items: Items = {}
        self.services: dict[str, ServiceInfo] = {}

    def up(self) -> None:
        bench = self.bench
        for host in ("node1", "client", *PODS):
            bench.add_ns(host)
        self.ip("node1", "link add eth0 type veth peer name eth0 netns", bench.ns("client"))
        self.address("node1", "eth0", f"{NODE}/24")
        self.address("client", "eth0", f"{CLIENT}/24")
        self.ip("node1", "link add cbr0 type bridge")
        self.address("node1", "cbr0", f"{BRIDGE}/24")
        # Not even a ClusterIP that nobody routes may be unreachable for the node itself: rules see routed packets only.
        self.ip("node1", f"route add default via {CLIENT}")
        for name, address in PODS.items():
            self.ip("node1", f"link add {name} type veth peer name eth0 netns", bench.ns(name))
            self.ip("node1", f"link set {name} master cbr0 up")
            self.address(name, "eth0", f"{address}/24")
            self.ip(name, f"route add default via {BRIDGE}")
            server = "-m nslab.components.images.agnhost netexec --http-port=8080 --udp-port=8081 --tcp-echo-port=8007"
            script = f"hostname {name} && exec {sys.executable} {server} 2>/dev/null"
            self.start(name, "unshare", "--uts", "sh", "-c", script)
        self.balancer = self.start("node1", sys.executable, "-c", DRIVER)
        self.tell(WEB)
        for address in PODS.values():
            until(lambda address=address: self.asks("node1", address, 8080) is not None)  # type: ignore[misc]

    def ip(self, host: str, *words: str) -> None:
        sh(f"ip -n {self.bench.ns(host)} {' '.join(words)}")

    def address(self, host: str, dev: str, address: str) -> None:
        self.ip(host, f"addr add {address} dev {dev}")
        self.ip(host, f"link set {dev} up")

    def start(self, host: str, *argv: str) -> subprocess.Popen[str]:
        words = ["ip", "netns", "exec", self.bench.ns(host), *argv]
        self.running.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return self.running[-1]

    def tell(self, *services: ServiceInfo) -> None:
        """Rules and proxy process learn of these Services, and forget all others."""
        shown = {service.key: service for service in services}
        new = whole(userspace, services, PROXY)
        differs = {item for item in (*self.items, *new) if self.items.get(item) != new.get(item)}
        old, self.items = self.items, new
        changes = [{item: body for item, body in items.items() if item in differs} for items in (old, new)]
        for command in userspace.commands(changes[0], changes[1], PROXY):
            argv = ["ip", "netns", "exec", self.bench.ns("node1"), *command.argv]
            subprocess.run(argv, input=command.text, text=True, check=True)
        self.update({**dict.fromkeys(self.services), **shown})
        self.services = shown

    def update(self, services: dict[str, ServiceInfo | None]) -> None:
        output = {key: service and to_json(service) for key, service in services.items()}
        assert self.balancer.stdin
        assert self.balancer.stdout
        self.balancer.stdin.write(f"{json.dumps([output, to_json(PROXY)])}\n")
        self.balancer.stdin.flush()
        assert self.balancer.stdout.readline() == "done\n"

    def socket(self, host: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A socket in a host's namespace."""
        made: list[socket.socket] = []
        self.bench.inside(host, lambda: made.append(socket.socket(socket.AF_INET, kind)))
        made[0].settimeout(5)
        return made[0]

    def asks(self, host: str, address: str, port: int, path: str = "/hostname") -> str | None:
        """The body of an answer over HTTP; None if there is none."""
        with self.socket(host) as sock:
            try:
                sock.connect((address, port))
                sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
                return _all(sock).partition(b"\r\n\r\n")[2].decode() or None
            except OSError:
                return None

    def close(self) -> None:
        for process in self.running:
            process.kill()
            process.communicate()


def _all(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


def _says(sock: socket.socket, word: bytes) -> str:
    sock.send(word)
    return sock.recv(1024).decode()


@pytest.fixture
def wired(bench: Bench) -> Iterator[Wired]:
    made = Wired(bench)
    try:
        made.up()
        yield made
    finally:
        made.close()


def test_the_rules_are_what_the_kernel_lists(wired: Wired) -> None:
    saved = sh(f"ip netns exec {wired.bench.ns('node1')} iptables-save").splitlines()
    listed = [line for line in saved if line.startswith("-A ")]
    ours = [
        f"-A {item[2]} {rule}"
        for item, body in wired.items.items()
        for rule in (body if item[0] == "chain" else (item[3],))
    ]
    assert sorted(listed) == sorted(ours)
    # The node ports' jumps are the last of their chains, the ClusterIPs' the first.
    assert [line.rpartition(" ")[2] for line in listed if line.startswith("-A PREROUTING")] == [
        "KUBE-PORTALS-CONTAINER",
        "KUBE-NODEPORT-CONTAINER",
    ]


@pytest.mark.parametrize(
    ("host", "address", "port"),
    [("p1", VIP, 80), ("node1", VIP, 80), ("client", NODE, 30080), ("node1", NODE, 30080)],
    ids=["pod to ClusterIP", "node to ClusterIP", "client to node port", "node to its node port"],
)
def test_endpoints_take_turns_and_see_the_node(wired: Wired, host: str, address: str, port: int) -> None:
    names = [wired.asks(host, address, port) for _ in range(12)]
    assert {*names[:3]} == {*PODS}
    assert names == names[:3] * 4
    seen = wired.asks(host, address, port, "/clientip")
    assert seen is not None
    assert seen.partition(":")[0] == BRIDGE


def test_udp_answers_come_back_and_a_silent_client_is_forgotten(wired: Wired) -> None:
    with wired.socket("p1", socket.SOCK_DGRAM) as one, wired.socket("client", socket.SOCK_DGRAM) as two:
        one.connect((VIP, 53))
        two.connect((NODE, 30053))
        first = _says(one, b"hostname")
        assert _says(one, b"hostname") == first  # the same conversation
        assert _says(two, b"hostname") != first
        assert _says(two, b"clientip").partition(":")[0] == BRIDGE
        # Silence for longer than the idle time-out: the kernel forgets nothing yet, but the proxy does.
        assert not select.select([one], [], [], 0.4)[0]
        assert _says(one, b"hostname") not in (first, "")


def test_affinity_is_to_the_clients_address(wired: Wired) -> None:
    wired.tell(replace(WEB, affinity=60))
    assert len({wired.asks("p1", VIP, 80) for _ in range(6)}) == 1
    # What comes in by another address has an affinity of its own.
    assert {wired.asks(host, VIP, 80) for host in ("p1", "p2", "p3")} == {*PODS}


def test_a_connection_lives_through_fifty_changes(wired: Wired) -> None:
    with wired.socket("client") as held, wired.socket("p1") as other:
        wired.tell(replace(WEB, ports=(HTTP, replace(ECHO, node_port=30007))))
        held.connect((NODE, 30007))
        other.connect((VIP, 7))
        assert (_says(held, b"begin"), _says(other, b"begin")) == ("begin", "begin")
        for turn in range(50):
            ends = ECHO.endpoints[turn % 3 :] if turn % 5 else ()
            wired.tell(replace(WEB, ports=(HTTP, replace(ECHO, node_port=30007, endpoints=ends))))
            assert _says(held, b"%d" % turn) == str(turn)
            assert _says(other, b"%d" % turn) == str(turn)
        # Another one stays: the kernel tracks connections only while a rule asks for it, and translates none without.
        wired.tell(ServiceInfo("default", "rest", "10.96.0.2", (Port("", 80),)))
        assert _says(held, b"still") == "still"
    assert wired.asks("node1", NODE, 30080) is None


def test_dead_endpoints_are_passed_over(wired: Wired) -> None:
    refuses, absent = Endpoint(PODS["p1"], 9), Endpoint("20.96.1.99", 8080)
    wired.tell(replace(WEB, ports=(replace(HTTP, endpoints=(refuses, ENDS[1], absent)),)))
    assert {wired.asks("p3", VIP, 80) for _ in range(4)} == {"p2"}


def test_without_endpoints_the_connection_is_made_and_ended(wired: Wired) -> None:
    wired.tell(replace(WEB, ports=(replace(HTTP, endpoints=()), ECHO)))
    with wired.socket("p1") as sock:
        sock.connect((VIP, 80))
        assert sock.recv(1) == b""


def test_an_end_of_one_direction_is_passed_on(wired: Wired) -> None:
    whole_text = os.urandom(3_000_000)
    with wired.socket("client") as sock:
        wired.tell(replace(WEB, ports=(replace(ECHO, node_port=30007),)))
        sock.connect((NODE, 30007))
        sock.setblocking(False)
        left, came = memoryview(whole_text), bytearray()
        deadline = time.monotonic() + 20
        while len(came) < len(whole_text) or left:
            assert time.monotonic() < deadline
            readable, writable, _ = select.select([sock], [sock] if left else [], [], 5)
            if writable:
                left = left[sock.send(left[:65536]) :]
                if not left:
                    sock.shutdown(socket.SHUT_WR)
            if readable:
                block = sock.recv(65536)
                assert block, "ended before all had come back"
                came += block
        sock.settimeout(5)
        assert sock.recv(1) == b""
    assert bytes(came) == whole_text


def test_the_node_port_is_held(wired: Wired) -> None:
    for kind, port in ((socket.SOCK_STREAM, 30080), (socket.SOCK_DGRAM, 30053)):
        with wired.socket("node1", kind) as sock, pytest.raises(OSError, match="in use") as refused:
            sock.bind(("0.0.0.0", port))
        assert refused.value.errno == errno.EADDRINUSE
    wired.tell()
    with wired.socket("node1") as sock:
        sock.bind(("0.0.0.0", 30080))
