"""Sockets that wait for whoever comes, in this thread's namespace: told by sock_diag(7), or read in /proc/net.

/proc/net walks through all connections of the machine to find a namespace's few sockets: 40 ms for a lab, against one.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from nslab.linux.netlink import batch as netlink

if TYPE_CHECKING:
    from collections.abc import Iterator

_NETLINK_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY = 4, 20
_REQUEST = struct.Struct("=BBxxI48x")  # struct inet_diag_req_v2
_ANSWER = struct.Struct("=BBxxHxx16s28xIIIII")  # struct inet_diag_msg: family, state, port, address, …, inode
_PROTOCOLS = {
    ("tcp", socket.AF_INET): (socket.IPPROTO_TCP, 0x0A),
    ("tcp6", socket.AF_INET6): (socket.IPPROTO_TCP, 0x0A),
    ("udp", socket.AF_INET): (socket.IPPROTO_UDP, 0x07),
    ("udp6", socket.AF_INET6): (socket.IPPROTO_UDP, 0x07),
}
"""Each protocol's number, and the state of a socket that waits."""
MODULES = ("tcp_diag", "udp_diag")


def listening(*, by_diag: bool) -> dict[int, str]:
    """The numbers of these sockets, each with its protocol, address and port."""
    if not by_diag:
        return {inode: shown for name, family in _PROTOCOLS for inode, shown in _in_proc(name, family)}
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_SOCK_DIAG) as sock:
        return {inode: shown for name, family in _PROTOCOLS for inode, shown in _by_diag(sock, name, family)}


def _by_diag(sock: socket.socket, name: str, family: int) -> Iterator[tuple[int, str]]:
    protocol, state = _PROTOCOLS[name, socket.AddressFamily(family)]
    for body in netlink.dump(sock, _SOCK_DIAG_BY_FAMILY, _REQUEST.pack(family, protocol, 1 << state)):
        _, _, port, address, *_, inode = _ANSWER.unpack_from(body)
        yield inode, f"{name} {_shown(family, address, socket.ntohs(port))}"


def _in_proc(name: str, family: int) -> Iterator[tuple[int, str]]:
    _, state = _PROTOCOLS[name, socket.AddressFamily(family)]
    try:
        with open(f"/proc/thread-self/net/{name}") as file:
            lines = file.read().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split()
        if int(words[3], 16) == state:
            packed, _, port = words[1].partition(":")
            # Words of 32 bits, printed in host order.
            address = b"".join(struct.pack("=I", int(packed[at : at + 8], 16)) for at in range(0, len(packed), 8))
            yield int(words[9]), f"{name} {_shown(family, address, int(port, 16))}"


def _shown(family: int, address: bytes, port: int) -> str:
    if family == socket.AF_INET:
        return f"{socket.inet_ntop(family, address[:4])}:{port}"
    return f"[{socket.inet_ntop(family, address)}]:{port}"
