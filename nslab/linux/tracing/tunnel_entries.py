"""The entries of conntrack for IP-in-IP, which have no ports: only when they began tells whose they are."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from nslab.linux.netlink import listener
from nslab.linux.tracing import connections
from nslab.objects.names import host
from nslab.wire import packets
from nslab.wire.netlink import messages
from nslab.wire.nftables import NETLINK_NETFILTER

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator

    from nslab.linux.netns import Namespaces
    from nslab.linux.tracing.connections import KnownEntry

_LONGEST = 1 << 16


@contextmanager
def taken_back(spaces: Namespaces, lab: str, namespaces: Iterable[str]) -> Iterator[None]:
    """Remove at the end the entries that have begun meanwhile, as the kernel tells of them."""
    with ExitStack() as opened:
        heard: dict[str, socket.socket] = {}
        for ns in namespaces:
            spaces.enter(ns)
            heard[ns] = opened.enter_context(listener.opened(NETLINK_NETFILTER, [listener.CONNTRACK_NEW]))
        opened.callback(spaces.home)
        spaces.home()
        try:
            yield
        finally:
            connections.forget(spaces, lab, [one for ns, sock in heard.items() for one in _begun(ns, sock)])


def _begun(ns: str, sock: socket.socket) -> Iterator[KnownEntry]:
    sock.setblocking(False)
    try:
        while True:
            for _, _, body in messages(sock.recv(_LONGEST)):
                entry = connections.known_entry(body, host(ns))
                if entry and entry.connection.original.protocol == packets.IPIP:
                    yield entry
    except OSError:  # no more of them, or more than the buffer takes
        return
