"""A pod's resolver: like glibc, it reads /etc/hosts and /etc/resolv.conf, and asks the cluster's DNS."""

from __future__ import annotations

import os
import socket
import time
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.pytest_plugin.talk import opened
from nslab.wire.dns_client import answer, query

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_AGAIN = 0.5  # seconds after which a query is sent again
_TIMEOUT = 5.0  # the default of resolv.conf's `timeout`


@dataclass(frozen=True, slots=True)
class Resolver:
    """The contents of the two files."""

    hosts: Mapping[str, IPv4Address]
    servers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int

    @classmethod
    def of(cls, etc: Path) -> Resolver:
        """Read the files in a folder."""
        return cls.read((etc / "hosts").read_text(), (etc / "resolv.conf").read_text())

    @classmethod
    def read(cls, hosts: str, resolv_conf: str) -> Resolver:
        """Parse the texts of the two files."""
        known: dict[str, IPv4Address] = {}
        for line in hosts.splitlines():
            address, *names = line.partition("#")[0].split() or [""]
            if address and ":" not in address:
                known = {**dict.fromkeys(names, IPv4Address(address)), **known}
        words = [line.split() for line in resolv_conf.splitlines() if line.split()]
        options = [option for first, *rest in words if first == "options" for option in rest]
        ndots = [int(option[6:]) for option in options if option.startswith("ndots:")]
        return cls(
            known,
            tuple(rest[0] for first, *rest in words if first == "nameserver"),
            # The last search line applies (resolv.conf(5)).
            next((tuple(rest) for first, *rest in reversed(words) if first == "search"), ()),
            ndots[-1] if ndots else 1,
        )

    def candidates(self, name: str) -> list[str]:
        """The full names to try for a name, in order."""
        if name.endswith("."):
            return [name]
        searched = [f"{name}.{domain}." for domain in self.search]
        # A name with at least ndots dots is first tried as it is.
        return [f"{name}.", *searched] if name.count(".") >= self.ndots else [*searched, f"{name}."]

    def ask(self, ns: str, name: str) -> IPv4Address:
        """Return the (first) address of a name, asked from a namespace; socket.gaierror without one."""
        if name in self.hosts:
            return self.hosts[name]
        if not self.servers:
            raise socket.gaierror(socket.EAI_AGAIN, f"{ns}: cannot resolve {name!r}: the lab has no DNS")
        trouble = ""
        for candidate in self.candidates(name):
            addresses, trouble = self._asked(ns, candidate)
            if addresses:
                return addresses[0]
            if not trouble:
                servers = ", ".join(self.servers)
                raise socket.gaierror(socket.EAI_AGAIN, f"{ns}: DNS ({servers}) does not answer for {candidate!r}")
        raise socket.gaierror(socket.EAI_NONAME, f"{ns}: DNS knows no {name!r}: {trouble}")

    def _asked(self, ns: str, name: str) -> tuple[tuple[IPv4Address, ...], str]:
        """The servers' answer for a full name: addresses, or an error code; neither if they do not answer."""
        number = int.from_bytes(os.urandom(2), "big")
        last = ""
        for server in self.servers:
            with opened(ns, socket.SOCK_DGRAM) as sock:
                sock.connect((server, 53))
                for packet in _answers(sock, query(number, name)):
                    if found := answer(packet, number):
                        if found[0] or found[1] in ("NXDOMAIN", "no address"):
                            return found
                        last = found[1]
                        break
        return (), last


def _answers(sock: socket.socket, question: bytes) -> Iterator[bytes]:
    """Send a query, again while no answer comes, and yield the answers."""
    deadline = time.monotonic() + _TIMEOUT
    sock.settimeout(_AGAIN)
    while time.monotonic() < deadline:
        try:
            sock.send(question)
            yield sock.recv(4096)
        except TimeoutError:
            continue
        except OSError:  # refused: no server listens there
            return
