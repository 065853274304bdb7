"""IPsec policies (XFRM), which drop packets or ask for a transformation before or after they are routed."""

from __future__ import annotations

import errno
import socket
import struct
from ipaddress import ip_network
from typing import TYPE_CHECKING

from nslab.linux.netlink import batch as netlink
from nslab.linux.observe.place import is_safe_to_ask
from nslab.objects.unmanaged import Unmanaged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.linux.observe.place import Found, ObservedNamespace

_NETLINK_XFRM, _GETPOLICY = 6, 21
_SELECTOR = struct.Struct("=16s16s8xHBBB3xiI")
"""struct xfrm_selector: destination, source, ports, family, prefix lengths of both, protocol, interface, user."""
_INFO = struct.Struct("=IIBB2x")
"""The end of struct xfrm_userpolicy_info: priority, index, direction, action."""
_LIFETIMES = 96
_DIRECTIONS = ("in", "out", "fwd")
_BLOCK = 1


def policies(place: ObservedNamespace) -> Found:
    """The policies of a namespace; those of single sockets end with these."""
    if not is_safe_to_ask("xfrm_user"):
        return (), ()
    return (), [policy for body in _dumped() if (policy := _policy(place.ns, body))]


def _dumped() -> Iterator[bytes]:
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_XFRM) as sock:
            yield from netlink.dump(sock, _GETPOLICY, b"")
    except OSError as error:
        if error.errno not in (errno.EPROTONOSUPPORT, errno.EINVAL, errno.EOPNOTSUPP):
            raise


def _policy(ns: str, body: bytes) -> Unmanaged | None:
    target, source, family, to_length, from_length, *_ = _SELECTOR.unpack_from(body)
    _, index, direction, action = _INFO.unpack_from(body, _SELECTOR.size + _LIFETIMES)
    if direction >= len(_DIRECTIONS):
        return None
    size = 4 if family == socket.AF_INET else 16
    ends = (ip_network((address[:size], length)) for address, length in ((source, from_length), (target, to_length)))
    selector = "src {} dst {}".format(*ends)
    way = f"dir {_DIRECTIONS[direction]}"
    action_words = " action block" if action == _BLOCK else ""
    return Unmanaged(ns, f"XFRM policy {selector} {way}{action_words}", (f"ip xfrm policy delete {way} index {index}",))
