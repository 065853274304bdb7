"""healthCheckNodePort: kube-proxy reports to load balancers whether this node has endpoints of a Service."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys

from nslab.components.runtime.loop import WRITE, accept
from nslab.wire import http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.components.runtime.loop import Watches
    from nslab.proxy.model import Proxy, ServiceInfo


MOST = 256
"""Clients at a time: anybody who reaches the node can hold a connection open."""


class HealthPorts:
    """A small HTTP server for each Service with such a port, on all addresses of the node."""

    def __init__(self, loop: Watches, proxy: Proxy) -> None:
        self._loop, self._proxy = loop, proxy
        self._doors: dict[int, socket.socket] = {}
        self._services: dict[int, ServiceInfo] = {}
        self.healthy = True
        self.failed: dict[str, str] = {}
        """What could not be opened for a Service (NAMESPACE/NAME), and why."""
        self.clients = 0

    def update(self, services: Mapping[str, ServiceInfo]) -> None:
        """Listen for exactly these Services."""
        with_port = (service for service in services.values() if service.health_check_node_port)
        self._services = {service.health_check_node_port: service for service in with_port}
        for port in self._doors.keys() - self._services.keys():
            door = self._doors.pop(port)
            self._loop.forget(door.fileno())
            door.close()
        self.failed = {}
        for port in self._services.keys() - self._doors.keys():
            try:
                self._open(port)
            except OSError as error:
                whose = self._services[port].key
                self.failed[whose] = f"health check node port {port} of {whose}: {os.strerror(error.errno or 0)}"
                sys.stderr.write(f"kube-proxy: {self.failed[whose]}\n")

    def _open(self, port: int) -> None:
        # IPv4 only: the node's IPv6 may be disabled, and labs do not use it.
        door = socket.create_server(("0.0.0.0", port), backlog=64)  # noqa: S104 - at every address of the node
        door.setblocking(False)
        self._doors[port] = door
        accept(self._loop, door, lambda connection: self._accept(connection, port))

    def _accept(self, connection: socket.socket, port: int) -> None:
        if self.clients < MOST:
            _Client(self, self._loop, connection, port)
        else:
            connection.close()

    def answer(self, port: int) -> bytes:
        """The HTTP response at a port."""
        service = self._services.get(port)
        return b"" if service is None else response(service, self._proxy.node, self.healthy)


class _Client:
    """A load balancer's connection: one request, one response."""

    def __init__(self, ports: HealthPorts, loop: Watches, connection: socket.socket, port: int) -> None:
        self._ports, self._loop, self._socket, self._port = ports, loop, connection, port
        self._data, self._answer = bytearray(), b""
        connection.setblocking(False)
        loop.watch(connection.fileno(), self._read)
        ports.clients += 1

    def _read(self) -> None:
        try:
            block = self._socket.recv(1 << 16)
            self._data += block
            request = http.take(self._data)
        except BlockingIOError:
            return
        except (OSError, ValueError):  # bad input ends the connection, never kube-proxy
            self._close()
            return
        if request:
            self._answer = self._ports.answer(self._port)
            self._loop.watch(self._socket.fileno(), self._write, WRITE)
        elif not block:
            self._close()

    def _write(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.send(self._answer)  # a few hundred bytes fit into the buffer of any new connection
        self._close()

    def _close(self) -> None:
        self._ports.clients -= 1
        self._loop.forget(self._socket.fileno())
        self._socket.close()


def response(service: ServiceInfo, node: str, healthy: bool) -> bytes:
    """kube-proxy's response: 200 if the node has endpoints of the Service, else 503."""
    count = len({end.ip for port in service.ports for end in port.endpoints if end.ready and end.node == node})
    name = {"namespace": service.namespace, "name": service.name}
    content = {"service": name, "localEndpoints": count, "serviceProxyHealthy": healthy}
    body = json.dumps(content, indent="\t").encode()
    lines = (
        "HTTP/1.1 200 OK" if count and healthy else "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json",
        "X-Content-Type-Options: nosniff",
        f"X-Load-Balancing-Endpoint-Weight: {count}",
        f"Content-Length: {len(body)}",
        "Connection: close",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
