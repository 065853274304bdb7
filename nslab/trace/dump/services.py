"""Which Service a packet was for, as kube-proxy's comments and chains say (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nslab.trace.hops import Action

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.trace.hops import Hop

_NAME = r"([a-z0-9][a-z0-9.-]*/[a-z0-9][a-z0-9.-]*)"
_COMMENT = re.compile(rf"{_NAME}(?::[a-z0-9-]*)?(?: |$)")
"""`default/web:http cluster IP`, or `default/web:http` alone."""
_CHAIN = re.compile(rf"(?:service|endpoint|external|no-endpoints)-[A-Z0-9]{{8}}-{_NAME}/(?:tcp|udp|sctp)/")
"""nftables: `service-ULMVA6XW-default/web/tcp/http`."""


def service_of(hops: Sequence[Hop]) -> str:
    """NAMESPACE/NAME; "" if no rule names one."""
    return next((name for hop in hops if not hop.reply for name in _named(hop)), "")


def _named(hop: Hop) -> Iterator[str]:
    if hop.action not in (Action.DNAT, Action.DROP, Action.REJECT):
        return
    for match in hop.matches:
        if match.chain.startswith("KUBE-") and (found := _COMMENT.match(match.comment)):
            yield found[1]
        if match.table == "kube-proxy" and (found := _CHAIN.match(match.chain) or _CHAIN.match(match.target)):
            yield found[1]
