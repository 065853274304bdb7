"""Whoever connects: what is no request, and more connections than anybody needs, end no component and cost little."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.components.images import serving
from nslab.components.kubeproxy import healthports
from nslab.linux.netns import Namespaces
from nslab.linux.stored_lab import stored_lab
from tests.kernel.labkit import ROOT, OwnLab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = [
    "GET / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n",  # a superscript two, which Python calls a digit
    f"GET / HTTP/1.1\r\nContent-Length: {'9' * 5000}\r\n\r\n",  # more digits than Python converts
    "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET /echo?code=%C2%B2 HTTP/1.1\r\nConnection: close\r\n\r\n",
    f"GET /echo?code={'9' * 5000} HTTP/1.1\r\nConnection: close\r\n\r\n",
    f"GET /{'%00' * 20000} HTTP/1.1\r\n\r\n",
    "GET /%0a%1b%5b2J HTTP/1.1\r\nConnection: close\r\n\r\n",
    "\r\n\r\n", "\0" * 70000, "GET  /  HTTP/1.1\r\n\r\n", "GET / HTTP/9\r\n\r\n", "é" * 10 + "\r\n\r\n",
]  # fmt: skip


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("lab"), "external-traffic")
    try:
        made.edit("  proxy:", "  dns: {address: 10.96.0.10}\n  proxy:")
        made.up()
        yield made
    finally:
        made.clear()


def connected(lab: OwnLab, host: str, address: str, port: int, count: int = 1) -> list[socket.socket]:
    """Connections from a host."""
    made = []
    with Namespaces() as spaces:
        spaces.enter(lab.ns(host))
        for _ in range(count):
            made.append(socket.socket())
            made[-1].settimeout(10)
            with contextlib.suppress(ConnectionError):  # it is closed already
                made[-1].connect((address, port))
    return made


def heard(peer: socket.socket) -> bytes:
    """What comes until the other end hangs up, however rudely."""
    output = b""
    with contextlib.suppress(ConnectionError), peer:
        while block := peer.recv(1 << 16):
            output += block
    return output


def closed(peer: socket.socket) -> bool:
    """Whether the other end has hung up."""
    peer.setblocking(False)
    try:
        return peer.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def memory(pid: int) -> int:
    """Kilobytes of a process's own."""
    return next(
        int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "RssAnon" in line
    )


def server(lab: OwnLab) -> tuple[str, str]:
    """A pod that serves HTTP: its host, its address."""
    desired = stored_lab(lab.name)
    pod = next(
        pod
        for pod in desired.pods
        if any(container.ports for container in pod.containers) and pod.namespace == "default"
    )
    return pod.name, str(pod.assigned)


def health(lab: OwnLab) -> tuple[str, str, int]:
    """A node, its address, and a port at which its kube-proxy tells of a Service."""
    desired = stored_lab(lab.name)
    port = next(service.health_check_node_port for service in desired.services if service.health_check_node_port)
    return desired.nodes[0].name, str(desired.nodes[0].address), port


def test_what_is_no_request_ends_nobody(lab: OwnLab) -> None:
    before = lab.pids()
    _, address = server(lab)
    _, node, port = health(lab)
    for request in HOSTILE:
        for to in ((address, 8080), (node, port)):
            (peer,) = connected(lab, "client" if to[0] == node else "node1", *to)
            with contextlib.suppress(OSError):  # it has hung up by then
                peer.sendall(request.encode("latin-1"))
                peer.shutdown(socket.SHUT_WR)
            heard(peer)
    assert lab.pids() == before
    for host, to in (("node1", (address, 8080)), ("client", (node, port))):
        (peer,) = connected(lab, host, *to)
        peer.sendall(b"GET /hostname HTTP/1.0\r\n\r\n")
        assert heard(peer).startswith(b"HTTP/1.1 ")


@pytest.mark.parametrize("whom", ["agnhost", "kubedns", "health"])
def test_connections_are_bounded_and_come_back(lab: OwnLab, whom: str) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    name, address = server(lab)
    node, at, port = health(lab)
    dns = next(who for who in lab.pids() if who.endswith("kubedns"))
    web = next(who for who in lab.pids() if who.startswith(f"{name} container"))
    host, role, to, most = {
        "agnhost": ("node1", web, (address, 8080), serving.MOST),
        "kubedns": (dns.split()[0], dns, ("127.0.0.1", 10053), serving.MOST),
        "health": ("client", f"{node} kube-proxy", (at, port), healthports.MOST),
    }[whom]  # fmt: skip
    before, cost = lab.pids(), memory(lab.pids()[role])
    peers = connected(lab, host, *to, count=most + 200)
    try:
        until(lambda: sum(map(closed, peers)) >= 200)
        assert sum(map(closed, peers)) == 200
        assert memory(lab.pids()[role]) - cost < 32 * 1024
    finally:
        for peer in peers:
            peer.close()
    assert lab.pids() == before

    def answers() -> bool:
        (peer,) = connected(lab, host, *to)
        with contextlib.suppress(ConnectionError):
            # To a name server a length and what is no question: it says that, or hangs up.
            peer.sendall(
                b"\0\x0c" + b"\0\1\1\0\0\1\0\0\0\0\0\0" if whom == "kubedns" else b"GET /hostname HTTP/1.0\r\n\r\n"
            )
            peer.shutdown(socket.SHUT_WR)
        return heard(peer) != b""

    until(answers)


USERSPACE = """
import asyncio, socket
from nslab.components.kubeproxy import balancer
from nslab.components.kubeproxy import sessions
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo

balancer.MOST = sessions.MOST = 8

async def main():
    async def serve(reader, writer):
        await reader.read()
        writer.close()

    far = (await asyncio.start_server(serve, "127.0.0.1", 0)).sockets[0]
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    ports = [
        Port("http", 80, protocol, 0, (Endpoint("127.0.0.1", sock.getsockname()[1], "node1"),))
        for protocol, sock in (("TCP", far), ("UDP", udp))
    ]
    proxy = balancer.Balancer(print)
    await proxy.update({"default/a": ServiceInfo("default", "a", "10.96.0.1", tuple(ports))}, Proxy("node1", ()))
    where = {protocol: ("127.0.0.1", port) for (_, protocol), port in proxy.ports.items()}
    for _ in range(2):
        peers = [socket.create_connection(where["tcp"], 5) for _ in range(20)]
        async def gone():
            left = 0
            for peer in peers:
                peer.setblocking(False)
                try:
                    left += peer.recv(1) != b""
                except BlockingIOError:
                    left += 1
                except ConnectionError:
                    pass
            return left
        while await gone() > 8:
            await asyncio.sleep(0.01)
        print("connections", await gone())
        for peer in peers:
            peer.close()
        while proxy._open:
            await asyncio.sleep(0.01)
    clients = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(20)]
    for client in clients:
        client.sendto(b"x", where["udp"])
    udp.settimeout(0)
    heard, quiet = 0, 0
    while heard < 8 or quiet < 20:
        try:
            udp.recv(10)
            heard, quiet = heard + 1, 0
        except BlockingIOError:
            quiet += 1
            await asyncio.sleep(0.01)
    print("clients", heard)
    await proxy.close()

asyncio.run(main())
"""


def test_userspace_s_clients_are_bounded() -> None:
    script = f'ip link set lo up && exec {sys.executable} -c "$0"'
    argv = ["unshare", "--net", "sh", "-c", script, USERSPACE]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert (done.returncode, done.stdout.split("\n")[:-1]) == (0, ["connections 8", "connections 8", "clients 8"]), (
        done.stderr
    )
