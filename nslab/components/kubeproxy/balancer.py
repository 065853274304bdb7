"""userspace mode's proxy: a listener for each port of a Service, and a connection of its own to an endpoint.

Rules (nslab.proxy.userspace) bring clients here. Two connections stand where one was, and all of the node's traffic to
Services goes through this one process: that is the lesson of the mode, and why it is gone.
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

    from nslab.proxy.model import Port, Proxy, Service

DIAL = (0.25, 0.5, 1.0, 2.0)
"""Seconds that an endpoint has to answer: each try goes to the next one."""
SILENT = 0.1
"""Seconds between two lines about clients that are not served."""
MOST = 4096
"""Clients' connections at a time: one with all that either side has yet to read may cost a megabyte."""
_BACKLOG = 1024


class Where(NamedTuple):
    """What a listener is told apart by."""

    protocol: str
    address: str
    port: int


class Balancer:
    """The proxy of one node: what it is told of Services, and the sockets that it holds for them.

    Used inside one asyncio loop, in the node's network namespace. Problems with single ports (one that somebody else
    has) are told to `log`; the rest goes on, and each update tries again. `ports`: where it listens for what.
    """

    def __init__(self, log: Callable[[str], object] = sys.stderr.write) -> None:
        self._log = log
        self._services: dict[str, Service] = {}
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

    async def update(self, services: Mapping[str, Service | None], proxy: Proxy) -> None:
        """These Services (by NAMESPACE/NAME) are new or changed, or (None) gone; of the others all is as it was.

        No connection is cut: one that was accepted goes on, even if its Service or its endpoint is gone.
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
        """Of UDP, which has no connections, a client is not left with an endpoint that serves no more."""
        _, listener = self._listeners.get(name, (None, None))
        if isinstance(listener, Sessions):
            listener.keep({(end.ip, end.port) for end in port.endpoints if end.serving})

    async def close(self) -> None:
        """Listen no more; end what is under way."""
        for task in self._dialling:
            task.cancel()
        await self._listen({})
        self._hold({})

    async def _listen(self, places: Mapping[tuple[str, str], Where]) -> None:
        """Sockets at these places and no others. What goes, goes first: another may get its port."""
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
        """Keep node ports from anybody else: no packet comes to these sockets, since rules take it before."""
        for where in self._held.keys() - wanted.keys():
            self._held.pop(where).close()
        for where in wanted.keys() - self._held.keys():
            try:
                self._held[where] = _bound(where)
            except OSError as error:
                self._fail(
                    wanted[where], f"node port {where.port} of {wanted[where]} is not to be had: {error.strerror}"
                )

    def _fail(self, port: str, why: str) -> None:
        """Note what is wrong with a Service's port, by its `port_name`."""
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
        """Find an endpoint that answers, and let the two talk; without one, hang up."""
        peer = cast("tuple[str, int]", client.transport.get_extra_info("peername"))
        server = await self._dial(name, rotation, peer[0])
        if server is None or client.lost:
            client.transport.close()
            if server:
                server.transport.close()
        else:
            client.join(server)

    async def _dial(self, name: str, rotation: Rotation, client: str) -> Side | None:
        loop = asyncio.get_running_loop()
        for index, seconds in enumerate(DIAL):
            end = rotation.next(client, time.monotonic(), again=bool(index))
            if end is None:
                self._complain(f"{name} has no endpoint for {client}\n")
                return None
            with contextlib.suppress(OSError):  # TimeoutError is one of them
                async with asyncio.timeout(seconds):
                    return (await loop.create_connection(Side, end.ip, end.port))[1]
        self._complain(f"no endpoint of {name} answers {client}\n")
        return None

    def _complain(self, text: str) -> None:
        """Say so; but clients may come as often as they like."""
        if (now := time.monotonic()) - self._complained >= SILENT:
            self._complained = now
            self._log(text)


def _bound(where: Where) -> socket.socket:
    """A socket that has the port; one of TCP listens, as only then no one else can."""
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
