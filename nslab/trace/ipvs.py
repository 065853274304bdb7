"""What `ipvsadm -Sn` prints: IPVS' virtual servers and their real ones (pure)."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from nslab.errors import UsageError
from nslab.trace.rules import names
from nslab.trace.rules.packet import SCTP, TCP, UDP

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PROTOCOLS = {"-t": TCP, "-u": UDP, "--sctp-service": SCTP}
_SCHEDULERS = ("rr", "wrr")
"""Schedulers by whose weights a new connection goes to a server; of the others, the load or a hash decides."""


class DumpedRealServer(NamedTuple):
    """A real server. `forwarding`: -m (NAT), -g (routing) or -i (tunnel)."""

    address: IPv4Address
    port: int
    forwarding: str
    weight: int


class DumpedVirtualServer(NamedTuple):
    """A virtual server with its real ones."""

    scheduler: str
    persistent: bool
    servers: list[DumpedRealServer]

    @property
    def even(self) -> bool:
        """Whether its chances are known."""
        return self.scheduler in _SCHEDULERS


VirtualServers: TypeAlias = "dict[tuple[int, IPv4Address, int], DumpedVirtualServer]"
"""By protocol, address and port."""


def virtual_servers(text: str) -> VirtualServers:
    """The virtual servers; those of marks and of IPv6 are left out. Raises UsageError with a line's number."""
    found: VirtualServers = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words or words[0] not in ("-A", "-a"):
            if words:
                raise _wrong(number, line)
            continue
        if len(words) < 3 or words[1] == "-f" or "[" in line:
            continue
        try:
            _add(found, words)
        except (ValueError, LookupError) as error:
            raise _wrong(number, line) from error
    return found


def _add(found: VirtualServers, words: Sequence[str]) -> None:
    address, port = _end(words[2])
    key = (_PROTOCOLS[words[1]], address, port)
    options = dict(_options(words[3:]))
    if words[0] == "-A":
        found[key] = DumpedVirtualServer(options.get("-s", "wlc"), "-p" in options, [])
        return
    to, to_port = _end(options["-r"])
    forwarding = next((one for one in ("-m", "-g", "-i") if one in options), "-g")
    found[key].servers.append(DumpedRealServer(to, to_port, forwarding, names.number(options.get("-w", "1"))))


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    for place, word in enumerate(words):
        if word.startswith("-"):
            yield word, words[place + 1] if place + 1 < len(words) else ""


def _end(text: str) -> tuple[IPv4Address, int]:
    address, _, port = text.rpartition(":")
    return IPv4Address(address), names.port(port)


def _wrong(number: int, line: str) -> UsageError:
    return UsageError(f"ipvsadm-save, line {number}: {line[:60]!a} is nothing that ipvsadm -Sn prints")
