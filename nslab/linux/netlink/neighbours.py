"""Flush the neighbour entries that the kernel has learned."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from nslab.linux.netlink import batch as netlink
from nslab.objects.neighbours import NDA_DST, NUD_FAILED, NUD_INCOMPLETE, NUD_NOARP, NUD_PERMANENT
from nslab.wire import netlink as wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.linux.netns import Namespaces

_HEADER = struct.Struct("=BxxxiHBB")


def forget(spaces: Namespaces, namespaces: Iterable[str]) -> None:
    """Delete all but the permanent entries; the kernel resolves again what it needs again.

    The kernel has one neighbour table for all namespaces, the machine's own included. Beyond
    net.ipv4.neigh.default.gc_thresh3 (1,024 entries) it learns no more, and packets are lost in every namespace.
    """
    _delete(spaces, namespaces, ~(NUD_PERMANENT | NUD_NOARP))


def forget_unresolved(spaces: Namespaces, namespaces: Iterable[str]) -> None:
    """Delete the entries for which nobody has answered: for up to three seconds, their packets are lost.

    The kernel asks three times, a second apart, and has then failed, although the cause may be gone meanwhile.
    """
    _delete(spaces, namespaces, NUD_INCOMPLETE | NUD_FAILED)


def _delete(spaces: Namespaces, namespaces: Iterable[str], states: int) -> None:
    for ns in namespaces:
        sock = spaces.route_socket(ns)
        netlink.send(sock, _deletions(sock, states))  # a refusal means that the entry has expired


def _deletions(sock: socket.socket, states: int) -> list[bytes]:
    gone = []
    for body in netlink.dump(sock, wire.GETNEIGH, _HEADER.pack(socket.AF_INET, 0, 0, 0, 0)):
        _, index, state, _, _ = _HEADER.unpack_from(body)
        address = wire.attributes(body, _HEADER.size).get(NDA_DST)
        if address and state & states and not state & (NUD_PERMANENT | NUD_NOARP):
            entry = _HEADER.pack(socket.AF_INET, index, 0, 0, 0) + wire.attribute(NDA_DST, address)
            gone.append(wire.message(wire.DELNEIGH, 0, entry))
    return gone
