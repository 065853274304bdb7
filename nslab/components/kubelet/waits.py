"""Clients that wait until a node's containers are ready, or have ended."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nslab.components.kubelet.container_state import ContainerState
    from nslab.components.runtime.loop import Loop
    from nslab.components.runtime.peers import Peer

    Key = tuple[str, str]

LONGEST = 86400.0
"""The longest accepted wait, in seconds."""


class WaitingClients:
    """The waiting clients of a node."""

    def __init__(self, loop: Loop, containers: Mapping[Key, ContainerState], flush: Callable[[], None]) -> None:
        """`flush`: writes the status file, which a client may read next."""
        self._loop, self._containers, self._flush = loop, containers, flush
        self._waiting: list[tuple[Peer, float, float]] = []

    def add(self, peer: Peer, seconds: float) -> None:
        """Answer a client when all containers have settled, or after so many seconds."""
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"deadline out of range: {seconds} seconds")
        self._waiting.append((peer, time.monotonic() + seconds, seconds))
        self.go_on()
        if self._waiting:
            self._loop.at(time.monotonic() + seconds, self.go_on)

    def go_on(self) -> None:
        """Answer the clients that need not wait any more, as all containers are ready or failed, or the time is up."""
        if not self._waiting:
            return
        lives = self._containers.values()
        settled = all(life.settled for life in lives)
        late = [entry for entry in self._waiting if settled or entry[1] <= time.monotonic()]
        self._waiting = [entry for entry in self._waiting if entry not in late]
        if late:
            self._flush()
        for peer, _, seconds in late:
            failures = [life.failure(seconds) for life in lives]
            peer.send({"ok": True, "not_ready": [failure for failure in failures if failure]})
