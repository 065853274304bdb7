"""A pod's resolver: what glibc does with its /etc/hosts and /etc/resolv.conf, asked of the cluster's DNS."""

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

_AGAIN = 0.5  # seconds after which a question is asked once more
_PATIENCE = 5.0  # of resolv.conf's `timeout`, unless it says otherwise


@dataclass(frozen=True, slots=True)
class Resolver:
    """What the two files say."""

    hosts: Mapping[str, IPv4Address]
    servers: tuple[str, ...]
    search: tuple[str, ...]
    ndots: int

    @classmethod
    def of(cls, etc: Path) -> Resolver:
        """As the files in a folder say it."""
        return cls.read((etc / "hosts").read_text(), (etc / "resolv.conf").read_text())

    @classmethod
    def read(cls, hosts: str, resolv_conf: str) -> Resolver:
        """As two texts say it."""
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
            # The last one counts (resolv.conf(5)).
            next((tuple(rest) for first, *rest in reversed(words) if first == "search"), ()),
            ndots[-1] if ndots else 1,
        )

    def candidates(self, name: str) -> list[str]:
        """The full names that are tried for a name, in this order."""
        if name.endswith("."):
            return [name]
        searched = [f"{name}.{domain}." for domain in self.search]
        # A name with enough dots is tried as it is first.
        return [f"{name}.", *searched] if name.count(".") >= self.ndots else [*searched, f"{name}."]

    def ask(self, ns: str, name: str) -> IPv4Address:
        """The (first) address of a name, asked out of a namespace; socket.gaierror if there is none."""
        if name in self.hosts:
            return self.hosts[name]
        if not self.servers:
            raise socket.gaierror(socket.EAI_AGAIN, f"{ns}: nobody to ask for {name!r}: the lab has no DNS")
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
        """What the servers say of a full name: addresses, or a code; neither, if they are silent."""
        number = int.from_bytes(os.urandom(2), "big")
        last = ""
        for server in self.servers:
            with opened(ns, socket.SOCK_DGRAM) as sock:
                sock.connect((server, 53))
                for packet in _answers(sock, query(number, name)):
                    if heard := answer(packet, number):
                        if heard[0] or heard[1] in ("NXDOMAIN", "no address"):
                            return heard
                        last = heard[1]
                        break
        return (), last


def _answers(sock: socket.socket, question: bytes) -> Iterator[bytes]:
    """What comes back; the question is asked again while nothing does."""
    deadline = time.monotonic() + _PATIENCE
    sock.settimeout(_AGAIN)
    while time.monotonic() < deadline:
        try:
            sock.send(question)
            yield sock.recv(4096)
        except TimeoutError:
            continue
        except OSError:  # refused: nobody is there, and nobody will be
            return
