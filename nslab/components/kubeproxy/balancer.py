"""The proxy of userspace mode: a listener for each port of a Service, and for each client a connection to an endpoint.

Rules (nslab.proxy.userspace) redirect clients to it. Each connection becomes two, and all of the node's traffic to
Services passes through one process: that is the lesson of this mode, and why Kubernetes removed it.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import sys
import time
from typing import TYPE_CHECKING, NamedTuple, cast

from nslab.components.kubeproxy.relay import Side, reset
from nslab.components.kubeproxy.sessions import Sessions
from nslab.proxy.names import port_name
from nslab.proxy.rotation import Rotation
from nslab.proxy.userspace import proxied, proxy_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nslab.proxy.model import Port, Proxy, ServiceInfo

DIAL = (0.25, 0.5, 1.0, 2.0)
"""Connect timeouts in seconds: each attempt goes to the next endpoint."""
SILENT = 0.1
"""The least time in seconds between two log lines about clients that are not served."""
MOST = 4096
"""Clients' connections at a time: one with full buffers in both directions may take a megabyte."""
_BACKLOG = 1024


class Where(NamedTuple):
    """The key of a listener."""

    protocol: str
    address: str
    port: int


class Balancer:
    """The proxy of one node: its Services, and their sockets.

    It runs in one asyncio loop, in the node's network namespace. Errors of single ports (for instance, one in use) go
    to `log`; the others work, and each update tries again. `ports`: the proxy port of each Service port.
    """

    def __init__(self, log: Callable[[str], object] = sys.stderr.write) -> None:
        self._log = log
        self._services: dict[str, ServiceInfo] = {}
        self.ports: Mapping[tuple[str, str], int] = {}
        self._rotations: dict[tuple[str, str], Rotation] = {}
        self._listeners: dict[tuple[str, str], tuple[Where, asyncio.Server | Sessions]] = {}
        self._held: dict[Where, socket.socket] = {}
        self._dialling: set[asyncio.Task[None]] = set()
        self.failed: dict[str, str] = {}
        """What could not be opened for a Service (NAMESPACE/NAME), and why."""
        self._open = 0
        self._complained = -SILENT
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

    async def update(self, services: Mapping[str, ServiceInfo | None], proxy: Proxy) -> None:
        """Apply new or changed Services (by NAMESPACE/NAME; None: removed); all others stay as they are.

        Accepted connections continue, even if their Service or their endpoint is gone.
        """
        self._services |= {key: service for key, service in services.items() if service}
        for key, service in services.items():
            if service is None:
                self._services.pop(key, None)
        wanted = {
            (port_name(service, port), port.protocol.lower()): (service, port)
            for service in self._services.values()
            for port in proxied(service)
        }
        for name in [*self._rotations]:
            if name not in wanted:
                del self._rotations[name]
        for name, (service, port) in wanted.items():
            if service.key in services:
                self._rotations.setdefault(name, Rotation()).set(port.endpoints, service.affinity)
                self._let_go(name, port)
        self.failed = {}
        address = proxy.bind or "0.0.0.0"  # noqa: S104 - so that a rule may redirect to any address of the node
        self.ports = proxy_ports(wanted)
        places = {name: Where(name[1], address, port) for name, port in self.ports.items()}
        await self._listen(places)
        self._hold(
            {Where(name[1], "", port.node_port): name[0] for name, (_, port) in wanted.items() if port.node_port}
        )

    def _let_go(self, name: tuple[str, str], port: Port) -> None:
        """Close UDP sessions with endpoints that serve no more: UDP has no connections that could continue."""
        _, listener = self._listeners.get(name, (None, None))
        if isinstance(listener, Sessions):
            listener.keep({(end.ip, end.port) for end in port.endpoints if end.serving})

    async def close(self) -> None:
        """Close all listeners and cancel pending connections."""
        for task in self._dialling:
            task.cancel()
        await self._listen({})
        self._hold({})

    async def _listen(self, places: Mapping[tuple[str, str], Where]) -> None:
        """Listen at exactly these places. Closes old sockets first, since a new one may get their port."""
        for name, (where, listener) in [*self._listeners.items()]:
            if places.get(name) != where:
                listener.close()
                del self._listeners[name]
        loop = asyncio.get_running_loop()
        for name, where in places.items():
            if name in self._listeners:
                continue
            try:
                sock = _bound(where)
            except OSError as error:
                self._fail(name[0], f"no proxy port for {name[0]}: {where.address}:{where.port}: {error.strerror}")
                continue
            if where.protocol == "udp":
                self._listeners[name] = where, Sessions(sock, self._rotations[name])
            else:
                factory = self._factory(name[0], self._rotations[name])
                server = await loop.create_server(factory, sock=sock, backlog=_BACKLOG)
                self._listeners[name] = where, server

    def _hold(self, wanted: Mapping[Where, str]) -> None:
        """Bind node ports so that no other process can; rules redirect all packets before they reach these sockets."""
        for where in self._held.keys() - wanted.keys():
            self._held.pop(where).close()
        for where in wanted.keys() - self._held.keys():
            try:
                self._held[where] = _bound(where)
            except OSError as error:
                self._fail(wanted[where], f"cannot bind node port {where.port} of {wanted[where]}: {error.strerror}")

    def _fail(self, port: str, why: str) -> None:
        """Log an error of a Service's port, by its `port_name`, and note it for the report."""
        self._log(f"{why}\n")
        self.failed[port.partition(":")[0]] = why

    def _factory(self, name: str, rotation: Rotation) -> Callable[[], Side]:
        def accepted(client: Side) -> None:
            self._open += 1
            if self._open > MOST:
                reset(client.transport)
                return
            task = asyncio.get_running_loop().create_task(self._serve(name, rotation, client))
            self._dialling.add(task)
            task.add_done_callback(self._dialling.discard)

        def gone() -> None:
            self._open -= 1

        return lambda: Side(accepted, gone)

    async def _serve(self, name: str, rotation: Rotation, client: Side) -> None:
        """Connect to an endpoint and join the two connections; without one, close the client's."""
        peer = cast("tuple[str, int]", client.transport.get_extra_info("peername"))
        server = await self._connect(name, rotation, peer[0])
        if server is None or client.lost:
            client.transport.close()
            if server:
                server.transport.close()
        else:
            client.join(server)

    async def _connect(self, name: str, rotation: Rotation, client: str) -> Side | None:
        loop = asyncio.get_running_loop()
        for index, seconds in enumerate(DIAL):
            end = rotation.next(client, time.monotonic(), again=bool(index))
            if end is None:
                self._complain(f"{name} has no endpoint for {client}\n")
                return None
            with contextlib.suppress(OSError):  # includes TimeoutError
                async with asyncio.timeout(seconds):
                    return (await loop.create_connection(Side, end.ip, end.port))[1]
        self._complain(f"no endpoint of {name} answers {client}\n")
        return None

    def _complain(self, text: str) -> None:
        """Log a line, at most one per SILENT seconds, whatever clients do."""
        if (now := time.monotonic()) - self._complained >= SILENT:
            self._complained = now
            self._log(text)


def _bound(where: Where) -> socket.socket:
    """Bind a socket to the port; a TCP socket also listens, since only that excludes others with SO_REUSEADDR."""
    kind = socket.SOCK_DGRAM if where.protocol == "udp" else socket.SOCK_STREAM
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((where.address, where.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock
