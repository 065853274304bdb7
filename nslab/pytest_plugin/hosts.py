"""The handle of a host of a lab: what is run there, and what is asked from there."""

from __future__ import annotations

import json
import re
import socket
from typing import TYPE_CHECKING, Any

from nslab.linux.netns import folder
from nslab.linux.processes.exec import Command
from nslab.objects.names import netns
from nslab.pytest_plugin import talk
from nslab.pytest_plugin.address import Address
from nslab.pytest_plugin.inside import run_inside
from nslab.pytest_plugin.resolver import Resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from ipaddress import IPv4Address
    from subprocess import CompletedProcess

    from nslab.pytest_plugin.talk import Reach, Response

_SEEN = re.compile(r"\[?(?:::ffff:)?([\d.]+)\]?:\d+\s*")


class Host:
    """A pod, a node or a client. `node` and `containers` are a pod's.

    `machines`: the addresses of the lab's nodes, clients and routers, by their names, as they are when it is asked.
    """

    def __init__(
        self,
        lab_name: str,
        name: str,
        address: IPv4Address,
        machines: Callable[[], Mapping[str, IPv4Address]],
        containers: tuple[str, ...] = (),
        node: str = "",
    ) -> None:
        self.lab_name, self.name, self.address = lab_name, name, Address(address)
        self.containers, self.node = containers, node
        self._machines = machines
        self.netns = netns(lab_name, name)
        """The name of its network namespace, for `ip netns exec`."""

    def __repr__(self) -> str:
        return f"<{self.name} {self.address} of lab {self.lab_name}>"

    def run(
        self, *command: str, container: str | None = None, check: bool = True, timeout: float = 30.0, text: str = ""
    ) -> CompletedProcess[str]:
        """Run a command there, in a pod's container with that one's rights (`nslab exec`); `text` is its input.

        With `check`, AssertionError if its status is not 0. 127: there is no such command.
        """
        __tracebackhide__ = True
        beside = container or self.containers[0] if self.containers else ""
        done = run_inside(Command(self.lab_name, self.name, self.node or self.name, beside, command), text, timeout)
        if check and done.returncode:
            output = f"exit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip()
            raise AssertionError(f"{self.name}: {' '.join(command)}: {output}")
        return done

    def json(self, *command: str, **options: Any) -> Any:
        """What a command prints as JSON: `lab.node("node1").json("ip", "-j", "route")`."""
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
        """Ask a web server: `svc-b:8080`, `http://svc-b:8080/hostname`. OSError if there is no answer."""
        return talk.http(self.netns, self.resolve, url, method, data, headers or {}, timeout)

    def seen_as(self, url: str, timeout: float = 5.0) -> Address:
        """The address that a server sees this host as: what agnhost answers to /clientip there. It equals its text."""
        answer = self.http(f"{url.rstrip('/')}/clientip", timeout=timeout)
        found = _SEEN.fullmatch(answer.text)
        if not found:
            raise AssertionError(f"{url} does not say whom it sees: {answer.status} {answer.text[:200]!r}")
        return Address(found[1])

    def ping(self, target: str | Host, *, size: int = 0, timeout: float = 2.0) -> Reach:
        """Send an ICMP echo; true if the answer comes. `size`: of the whole packet, which nobody may cut then."""
        return talk.ping(self.netns, self.resolve(target), size, timeout)

    def connect(
        self, target: str | Host, port: int, *, udp: bool = False, text: str = "hostname", timeout: float = 2.0
    ) -> Reach:
        """Open a TCP connection, or with `udp` send `text` and wait for an answer; true if it comes off."""
        to = (str(self.resolve(target)), port)
        return talk.udp(self.netns, to, text, timeout) if udp else talk.tcp(self.netns, to, timeout)

    def resolve(self, target: str | Host) -> Address:
        """The address behind a name: as this host's own resolver finds it; a pod asks the cluster's DNS.

        Nodes and clients know each other by name, as if from /etc/hosts. Another host's handle stands for its address.
        """
        if isinstance(target, Host):
            return target.address
        try:
            return Address(target)
        except ValueError:
            pass
        if self.containers:
            return Address(Resolver.of(folder(self.lab_name) / "pods" / self.name).ask(self.netns, target))
        machines = self._machines()
        if target not in machines:
            reason = f"{self.name} knows no {target!r}; it knows {', '.join(machines)}, and addresses"
            raise socket.gaierror(socket.EAI_NONAME, reason)
        return Address(machines[target])
