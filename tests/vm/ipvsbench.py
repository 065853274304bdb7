"""A node with two pods, a pod on another node and a client, and the rules of ipvs mode, put in by the real programs."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

from nslab import syscall
from nslab.proxy import ipvs
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.ruletext.items import Items

NODE, POD_A, POD_B, CLIENT = (f"nslab.ipvstest.{host}" for host in ("node1", "pod-a", "pod-b", "client"))
PROXY = Proxy("node1", ("192.168.59.22",), "ipvs", cluster_cidr="20.96.0.0/12")
A, B, FAR = "20.111.156.7", "20.111.156.8", "20.109.131.3"

TOPOLOGY = f"""
-n {NODE} link set lo up
-n {NODE} link add eth0 type veth peer name eth0 netns {CLIENT}
-n {NODE} address add 192.168.59.22/24 dev eth0
-n {NODE} link set eth0 up
-n {CLIENT} address add 192.168.59.10/24 dev eth0
-n {CLIENT} link set eth0 up
-n {CLIENT} route add 203.0.113.0/24 via 192.168.59.22
-n {CLIENT} route add 10.96.0.0/12 via 192.168.59.22
"""
POD = """
-n {node} link add {dev} address ee:ee:ee:ee:ee:ee type veth peer name eth0 netns {pod}
-n {node} link set {dev} up
-n {node} route add {ip}/32 dev {dev}
-n {pod} link set lo up
-n {pod} address add {ip}/32 dev eth0
-n {pod} link set eth0 up
-n {pod} route add 169.254.1.1 dev eth0 scope link
-n {pod} route add default via 169.254.1.1
-n {pod} neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0
"""


def web(*ips: str, protocol: str = "TCP", node_port: int = 0, **options: Any) -> ServiceInfo:
    """A Service web, 10.96.0.1:80, with endpoints at port 8080."""
    ends = tuple(Endpoint(ip, 8080, "node2" if ip == FAR else "node1") for ip in ips)
    return ServiceInfo("default", "web", "10.96.0.1", (Port("http", 80, protocol, node_port, ends),), **options)


def sh(*argv: str, ns: str = NODE, text: str = "") -> str:
    """A program in a namespace, which must have nothing to complain of; its output."""
    with entered(ns):
        done = subprocess.run(argv, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{argv}: {done.stderr}"
    return done.stdout


def turn(old: Items, new: Items, proxy: Proxy = PROXY) -> None:
    """From one whole to another, as kube-proxy does it: it tells `commands` what differs."""
    before = {item: body for item, body in old.items() if new.get(item) != body}
    after = {item: body for item, body in new.items() if old.get(item) != body}
    for command in ipvs.commands(before, after, proxy):
        sh(*command.argv, text=command.text)


EMPTY = whole(ipvs, (), PROXY)
"""What is there without any Service; between tests it is there (see `network`), as it is what takes time."""


@contextlib.contextmanager
def applied(*services: ServiceInfo, proxy: Proxy = PROXY) -> Iterator[Items]:
    """What ipvs mode wants for Services, for as long as it takes."""
    items = whole(ipvs, services, proxy)
    turn(EMPTY, items, proxy)
    try:
        yield items
    finally:
        turn(items, EMPTY, proxy)


def everything() -> dict[str, list[str]]:
    """What the tools say of the node."""
    return {
        "servers": sorted(sh("ipvsadm", "-Sn").splitlines()),
        "sets": sorted(line.partition(" bucketsize")[0] for line in sh("ipset", "save").splitlines()),
        "rules": [line for line in sh("iptables-save").splitlines() if line.startswith((":KUBE", "-"))],
        "links": sorted(f"{link['ifname']} {link['operstate']}" for link in json.loads(sh("ip", "-j", "addr"))),
        "addresses": sorted(addresses()),
        "settings": sorted(line for line in sh("sysctl", "-a", "--pattern", "ipv4.vs").splitlines()),
    }


def addresses(dev: str = "") -> list[str]:
    """The node's IPv4 addresses, or those of one interface."""
    return [
        f"{one['local']}/{one['prefixlen']}"
        for link in json.loads(sh("ip", "-j", "-4", "addr"))
        for one in link["addr_info"]
        if link["ifname"] == (dev or link["ifname"])
    ]


@contextlib.contextmanager
def entered(ns: str) -> Iterator[None]:
    """This thread in a namespace. (`ip netns exec` would be one more process, and they are dear in here.)"""
    with open("/proc/thread-self/ns/net") as here, open(f"/run/netns/{ns}") as there:
        syscall.setns(there.fileno(), syscall.CLONE_NEWNET)
        try:
            yield
        finally:
            syscall.setns(here.fileno(), syscall.CLONE_NEWNET)


def inside(ns: str, kind: socket.SocketKind, *, bound: str = "") -> socket.socket:
    """A socket of a namespace."""
    with entered(ns):
        sock = socket.socket(socket.AF_INET, kind)
    sock.settimeout(10)
    if bound:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((bound, 8080))
    return sock


class Servers:
    """In each pod a server that tells everybody its name and whom it sees, and says back what it is told (TCP)."""

    def __init__(self) -> None:
        self._names: dict[socket.socket, str] = {}
        for ns, ip, name in ((POD_A, A, "a"), (POD_B, B, "b")):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                sock = inside(ns, kind, bound=ip)
                if kind is socket.SOCK_STREAM:
                    sock.listen(100)
                self._names[sock] = name
        self._stop, self._told = socket.socketpair()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """End it."""
        self._stop.close()
        self._thread.join()

    def _run(self) -> None:
        talks: list[socket.socket] = []
        while True:
            ready, _, _ = select.select([*self._names, *talks, self._told], [], [])
            for sock in ready:
                if sock is self._told:
                    for one in (*self._names, *talks, sock):
                        one.close()
                    return
                if sock in talks:
                    with contextlib.suppress(OSError):
                        if output := sock.recv(100):
                            sock.send(output)
                            continue
                    talks.remove(sock)
                    sock.close()
                elif sock.type is socket.SOCK_STREAM:
                    talk, peer = sock.accept()
                    talk.send(f"{self._names[sock]} {peer[0]}\n".encode())
                    talks.append(talk)
                else:
                    _, peer = sock.recvfrom(100)
                    sock.sendto(f"{self._names[sock]} {peer[0]}\n".encode(), peer)


@contextlib.contextmanager
def network() -> Iterator[None]:
    """The namespaces with their cables, and a server in each pod."""
    servers: Servers | None = None
    try:
        for ns in (NODE, POD_A, POD_B, CLIENT):
            subprocess.run(["ip", "netns", "add", ns], check=True)
        lines = TOPOLOGY
        for pod, ip, dev in ((POD_A, A, "cali-a"), (POD_B, B, "cali-b")):
            lines += POD.format(node=NODE, pod=pod, ip=ip, dev=dev)
        for line in filter(None, lines.splitlines()):
            subprocess.run(["ip", *line.split()], check=True)
        # A refusal is an ICMP message: as many as are asked for.
        sh("sysctl", "-qw", "net/ipv4/ip_forward=1", "net/ipv4/icmp_ratelimit=0")
        servers = Servers()
        turn({}, EMPTY)
        yield
    finally:
        if servers:
            servers.close()
        for ns in (NODE, POD_A, POD_B, CLIENT):
            subprocess.run(["ip", "netns", "del", ns], check=False)


def talk(ns: str, ip: str, port: int = 80) -> tuple[socket.socket, str, str]:
    """A connection from a namespace: it, who answered, and whom that one saw."""
    sock = inside(ns, socket.SOCK_STREAM)
    try:
        sock.connect((ip, port))
        name, seen = sock.recv(100).decode().split()
    except BaseException:
        sock.close()
        raise
    return sock, name, seen


def ask(ns: str, ip: str, port: int = 80) -> tuple[str, str]:
    """Who answers, and whom that one sees."""
    sock, name, seen = talk(ns, ip, port)
    sock.close()
    return name, seen


def names(answers: Iterable[tuple[str, str]]) -> str:
    """Who answered, one letter each."""
    return "".join(name for name, _ in answers)
