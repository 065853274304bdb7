"""Round robin: userspace mode's choice of an endpoint (kube-proxy's LoadBalancerRR)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nslab.proxy.model import Endpoint


class Rotation:
    """The endpoints of one port of a Service, in a shuffled order that changes only when they do."""

    def __init__(self, shuffle: Callable[[list[Endpoint]], None] = random.shuffle) -> None:
        self._shuffle = shuffle
        self._endpoints: list[Endpoint] = []
        self._turn = 0
        self._affinity = 0
        self._kept: dict[str, tuple[Endpoint, float]] = {}

    def set(self, endpoints: Iterable[Endpoint], affinity: int) -> None:
        """Set the endpoints (only ready ones are used), and the seconds of affinity to a client's address."""
        ready = {(end.ip, end.port): end for end in endpoints if end.ready}
        self._affinity = affinity
        if ready.keys() == {(end.ip, end.port) for end in self._endpoints}:
            return
        self._endpoints = [*ready.values()]
        self._shuffle(self._endpoints)
        self._turn = 0
        # Clients keep their endpoint if it still exists.
        self._kept = {client: kept for client, kept in self._kept.items() if (kept[0].ip, kept[0].port) in ready}

    def next(self, client: str, now: float, *, again: bool = False) -> Endpoint | None:
        """The endpoint for a client's connection at `now`; None without endpoints. `again`: the previous one failed."""
        if not self._endpoints:
            return None
        if self._affinity and not again:
            kept = self._kept.get(client)
            if kept and now - kept[1] < self._affinity:
                self._kept[client] = (kept[0], now)
                return kept[0]
        chosen = self._endpoints[self._turn]
        self._turn = (self._turn + 1) % len(self._endpoints)
        if self._affinity:
            self._kept[client] = (chosen, now)
        return chosen
