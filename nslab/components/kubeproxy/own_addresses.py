"""Which addresses the node has now: kube-proxy looks at each sync, as they come and go with a tunnel's device."""

from __future__ import annotations

import errno
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


def local(addresses: Iterable[str]) -> tuple[str, ...]:
    """Those that an interface of this network namespace has; and the first, which is the node's own whatever is up."""
    return tuple(address for number, address in enumerate(addresses) if not number or _is_local(address))


def _is_local(address: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind((address, 0))
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True
