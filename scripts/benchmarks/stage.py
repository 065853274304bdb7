"""A lab of three hosts with the real processes: a node with its kube-proxy, a pod on either side, and control."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.linux import owned
from nslab.linux.netns import Namespaces, folder
from nslab.linux.processes.agents import Agents
from nslab.linux.processes.control import ControlClient
from nslab.objects import process as objects
from nslab.objects.names import netns
from nslab.objects.plan import Add
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo, to_json
from nslab.syscall import PR_SET_PDEATHSIG, prctl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from nslab.objects.base import KernelObject

CLIENT, SERVER = ("20.111.0.1",), ("20.111.0.2", "20.111.0.3")
"""The addresses of the two pods."""
_SERVER, _PODS, _SERVICES = IPv4Address(SERVER[0]), IPv4Address("20.96.0.1"), IPv4Address("10.96.1.0")
WATCHING = {"kube-proxy": ["node"]}
NODE = Proxy("node", ("192.168.59.22",), cluster_cidr="20.96.0.0/12", service_cidr="10.96.0.0/12")
_WIRES = """\
link set lo up
link add client type veth peer name eth0 netns {client}
link add server type veth peer name eth0 netns {server}
link set client up
link set server up
address add 169.254.1.1/32 dev client
address add 169.254.1.1/32 dev server
route add 20.111.0.1 dev client
route add 20.111.0.2/31 dev server
"""
_POD = """\
link set eth0 up
route add 169.254.1.1 dev eth0
route add default via 169.254.1.1
"""


def services(count: int) -> list[ServiceInfo]:
    """`count` Services with two endpoints; those of the last one are the pod `server`'s."""
    return [_service(number, _PODS + 2 * number) for number in range(count - 1)] + [_service(count - 1, _SERVER)]


def cluster_ip(number: int) -> str:
    """The cluster IP of a Service by its number."""
    return str(_SERVICES + number)


def _service(number: int, first: IPv4Address) -> ServiceInfo:
    ends = tuple(Endpoint(str(first + more), 8080, node="node") for more in (0, 1))
    return ServiceInfo("default", f"svc-{number:05}", cluster_ip(number), (Port("http", 80, endpoints=ends),))


def moved(service: ServiceInfo, number: int) -> ServiceInfo:
    """The Service with another address of one endpoint."""
    (port,) = service.ports
    first, _ = port.endpoints
    other = replace(first, ip=f"20.111.1.{number % 250}")
    return replace(service, ports=(replace(port, endpoints=(first, other)),))


class Stage:
    """The lab; with mode `none`, without a kube-proxy."""

    def __init__(self, lab: str, proxy: Proxy) -> None:
        self.lab, self.proxy = lab, proxy
        self.spaces, self.agents, self.control = Namespaces(), Agents(lab, folder(lab)), ControlClient(lab)
        self._server = 0

    def __enter__(self) -> Self:
        owned.claim(self.lab)
        node, client, server, control = (netns(self.lab, host) for host in ("node", "client", "server", "control"))
        for ns in (node, client, server, control):
            self.spaces.create(ns)
        self.spaces.enter(node)
        with open("/proc/sys/net/ipv4/ip_forward", "w") as file:
            file.write("1")
        self.spaces.home()
        _ip(node, _WIRES.format(client=client, server=server))
        for ns, addresses in ((client, CLIENT), (server, SERVER)):
            _ip(ns, "".join(f"address add {address}/32 dev eth0\n" for address in addresses) + _POD)
        self._serve(server)
        steps: list[KernelObject] = [objects.NodeAgent(node, node), objects.Control(control, control)]
        if self.proxy.mode != "none":
            steps.append(objects.KubeProxy(node, node, json.dumps(to_json(self.proxy))))
        self.agents.run([Add(obj) for obj in steps])
        return self

    def __exit__(self, *_: object) -> None:
        self.control.close()
        self.agents.__exit__()
        self.spaces.__exit__()
        if self._server:
            os.kill(self._server, signal.SIGKILL)
            os.waitpid(self._server, 0)
        owned.release(self.lab)

    def put(self, wanted: list[ServiceInfo]) -> float:
        """Put exactly these Services, wait for kube-proxy, and return the seconds that it reports."""
        late = self.control.put(wanted, expect=WATCHING)
        deadline = time.monotonic() + 300
        while late:  # control's timeout is too short for nft with thousands of Services
            if time.monotonic() > deadline:
                sys.exit("kube-proxy does not follow")
            late = self.control.put((), whole=False, expect=WATCHING)
        report = self.control.get()["proxies"]["node"]
        if report["error"]:
            sys.exit(f"kube-proxy: {report['error']}")
        return float(report["seconds"])

    def change(self, service: ServiceInfo) -> float:
        """Put one changed Service; return the milliseconds until kube-proxy has followed."""
        started = time.perf_counter()
        if late := self.control.put([service], whole=False, expect=WATCHING):
            sys.exit(f"kube-proxy does not follow on {late}")
        return (time.perf_counter() - started) * 1000

    @contextlib.contextmanager
    def inside(self, host: str) -> Iterator[None]:
        """Run in a host's network namespace."""
        self.spaces.enter(netns(self.lab, host))
        try:
            yield
        finally:
            self.spaces.home()

    def connect(self, address: str, port: int, count: int) -> tuple[list[float], list[float]]:
        """Microseconds from the pod `client`: until the connect, and until the server's first byte."""
        connected, shown = [], []
        with self.inside("client"):
            for _ in range(count):
                with socket.socket() as peer:
                    # Reset at the end, so that no port stays in TIME_WAIT.
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    peer.settimeout(5)
                    started = time.perf_counter()
                    peer.connect((address, port))
                    connected.append((time.perf_counter() - started) * 1e6)
                    peer.recv(1)
                    shown.append((time.perf_counter() - started) * 1e6)
        return connected, shown

    def _serve(self, ns: str) -> None:
        """Send a byte on each connection, from a child process."""
        self.spaces.enter(ns)
        door = socket.create_server(("", 8080), backlog=1024)
        self.spaces.home()
        self._server = os.fork()
        if self._server == 0:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        while self._server == 0:
            with contextlib.suppress(OSError):
                peer, _ = door.accept()
                peer.send(b"!")
                peer.close()
        door.close()


def _ip(ns: str, lines: str) -> None:
    subprocess.run(["ip", "-n", ns, "-batch", "-"], input=lines, text=True, check=True)
