"""What netfilter has in this thread's namespace: nft's tables and rules, and ipsets (nfnetlink)."""

from __future__ import annotations

import errno
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

from nslab.linux.netlink import batch as netlink
from nslab.wire import nftables
from nslab.wire.netlink import attribute, attributes

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADER = struct.Struct("=BBH")  # struct nfgenmsg: family, version, resource
_NFT_GETTABLE, _IPSET_LIST = (10 << 8) | 1, (6 << 8) | 7
_NFTA_TABLE_NAME, _NFTA_TABLE_HANDLE = 1, 4
_IPSET_PROTOCOL, _IPSET_SETNAME, _IPSET_FLAGS = 1, 2, 6
_ONLY_NAMES = 1 << 1
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}


def tables() -> set[tuple[str, str]]:
    """Family and name of each table of nft."""
    return {*table_handles()}


def table_handles() -> dict[tuple[str, str], int]:
    """The handle of each table, by family and name; no other table of the namespace ever has the same."""
    found = ((body[0], attributes(body, _HEADER.size)) for body in _dump(_NFT_GETTABLE, b""))
    return {
        (_FAMILIES.get(family, str(family)), _text(table[_NFTA_TABLE_NAME])): int.from_bytes(
            table.get(_NFTA_TABLE_HANDLE, b""), "big"
        )
        for family, table in found
    }


def ipsets() -> set[str]:
    """The names of all sets."""
    flags = attribute(_IPSET_FLAGS | 0x4000, struct.pack("!I", _ONLY_NAMES))
    asked = attribute(_IPSET_PROTOCOL, bytes([6])) + flags
    return {_text(attributes(body, _HEADER.size)[_IPSET_SETNAME]) for body in _dump(_IPSET_LIST, asked)}


def rules() -> list[nftables.ListedRule]:
    """All rules of nf_tables, those of a chain in their order."""
    with connected() as sock:
        found = netlink.dump(sock, nftables.LIST_RULES, nftables.ALL_FAMILIES)
        return [nftables.rule(body) for body in found]


def connected() -> socket.socket:
    """A socket for nf_tables, conntrack, NFLOG and ipset, of this thread's namespace."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, nftables.NETLINK_NETFILTER)


def waiting(sock: socket.socket, longest: int) -> Iterator[bytes]:
    """The datagrams that wait in a socket. Where the kernel had more to tell than the buffer takes, some are lost."""
    with suppress(BlockingIOError):
        while True:
            try:
                yield sock.recv(longest, socket.MSG_DONTWAIT)
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # the next are whole
                    raise


def _dump(kind: int, body: bytes) -> Iterator[bytes]:
    """The answers; none if this kernel does not have that subsystem."""
    with connected() as sock:
        try:
            yield from netlink.dump(sock, kind, _HEADER.pack(0, 0, 0) + body)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOENT):
                raise


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
