"""The handle of a host of a lab: run commands there, and send requests from there."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

from nslab.linux.netns import folder
from nslab.linux.processes.exec import ExecRequest
from nslab.objects.names import netns
from nslab.pytest_plugin import talk
from nslab.pytest_plugin.address import LabAddress
from nslab.pytest_plugin.inside import run_inside
from nslab.pytest_plugin.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ipaddress import IPv4Address
    from subprocess import CompletedProcess

    from nslab.pytest_plugin.talk import Reach, Response

_SEEN = re.compile(r"\[?(?:::ffff:)?([\d.]+)\]?:\d+\s*")


class Host:
    """A pod, a node, a client or a router. Only a pod has `node` and `containers`.

    `machines`: returns the current addresses of the lab's nodes, clients and routers by name. `network`: the host whose
    network it uses, if it has none of its own.
    """

    def __init__(
        self,
        lab_name: str,
        name: str,
        address: IPv4Address,
        machines: Callable[[], Mapping[str, IPv4Address]],
        containers: tuple[str, ...] = (),
        node: str = "",
        network: str = "",
    ) -> None:
        self.lab_name, self.name, self.address = lab_name, name, LabAddress(address)
        self.containers, self.node = containers, node
        self._machines = machines
        self.netns = netns(lab_name, network or name)
        """The name of its network namespace, for `ip netns exec`."""

    def __repr__(self) -> str:
        return f"<{self.name} {self.address} of lab {self.lab_name}>"

    def run(
        self, *command: str, container: str | None = None, check: bool = True, timeout: float = 30.0, text: str = ""
    ) -> CompletedProcess[str]:
        """Run a command on the host, or in a pod's container with its rights (`nslab exec`); `text` is its input.

        With `check`, AssertionError if its exit status is not 0. 127: the command does not exist.
        """
        __tracebackhide__ = True
        beside = container or self.containers[0] if self.containers else ""
        done = run_inside(ExecRequest(self.lab_name, self.name, self.node or self.name, beside, command), text, timeout)
        if check and done.returncode:
            output = f"exit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip()
            raise AssertionError(f"{self.name}: {' '.join(command)}: {output}")
        return done

    def json(self, *command: str, **options: Any) -> Any:
        """Run a command and parse its output as JSON: `lab.node("node1").json("ip", "-j", "route")`."""
        return json.loads(self.run(*command, **options).stdout or "[]")

    def http(
        self,
        url: str,
        *,
        method: str = "GET",
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,
    ) -> Response:
        """Send an HTTP request to `svc-b:8080` or `http://svc-b:8080/hostname`. OSError without a response."""
        return talk.http(self.netns, self.resolve, url, method, data, headers or {}, timeout)

    def seen_as(self, url: str, timeout: float = 5.0) -> LabAddress:
        """Return the client address that a server sees: agnhost's response to /clientip. It equals its text."""
        answer = self.http(f"{url.rstrip('/')}/clientip", timeout=timeout)
        found = _SEEN.fullmatch(answer.text)
        if not found:
            raise AssertionError(f"{url}/clientip returns no address: {answer.status} {answer.text[:200]!r}")
        return LabAddress(found[1])

    def ping(self, target: str | Host, *, size: int = 0, timeout: float = 2.0) -> Reach:
        """Send an ICMP echo request; true if a reply comes. `size`: bytes of the IP packet, which then has DF set."""
        return talk.ping(self.netns, self.resolve(target), size, timeout)

    def connect(
        self, target: str | Host, port: int, *, udp: bool = False, text: str = "hostname", timeout: float = 2.0
    ) -> Reach:
        """Open a TCP connection, or with `udp` send `text` and wait for an answer; true on success."""
        to = (str(self.resolve(target)), port)
        return talk.udp(self.netns, to, text, timeout) if udp else talk.tcp(self.netns, to, timeout)

    def resolve(self, target: str | Host) -> LabAddress:
        """Return the address of a name, as this host's resolver finds it; a pod asks the cluster's DNS.

        Nodes, clients and routers know each other's names, as if from /etc/hosts. A handle stands for its address.
        """
        if isinstance(target, Host):
            return target.address
        try:
            return LabAddress(target)
        except ValueError:
            pass
        if self.containers:
            return LabAddress(Resolver.of(folder(self.lab_name) / "pods" / self.name).ask(self.netns, target))
        machines = self._machines()
        if target not in machines:
            reason = f"{self.name} knows no {target!r}; it knows {', '.join(machines)}, and addresses"
            raise socket.gaierror(socket.EAI_NONAME, reason)
        return LabAddress(machines[target])
