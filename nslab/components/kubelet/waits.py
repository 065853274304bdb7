"""Clients that wait until a node's containers are ready, or have ended."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

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
        self._waiting: list[tuple[Peer, float, float, Collection[Key] | None]] = []

    def add(self, peer: Peer, seconds: float, keys: Iterable[Sequence[str]] | None = None) -> None:
        """Answer a client when these containers (None: all) have settled, or after so many seconds."""
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"deadline out of range: {seconds} seconds")
        wanted = None if keys is None else {(ns, name) for ns, name in keys}
        self._waiting.append((peer, time.monotonic() + seconds, seconds, wanted))
        self.go_on()
        if self._waiting:
            self._loop.at(time.monotonic() + seconds, self.go_on)

    def go_on(self) -> None:
        """Answer the clients that need not wait any more: their containers are ready or failed, or the time is up."""
        if not self._waiting:
            return
        lives = [(self._of(entry[3]), entry) for entry in self._waiting]
        late = [(mine, entry) for mine, entry in lives if _is_over(mine, entry[1])]
        self._waiting = [entry for mine, entry in lives if (mine, entry) not in late]
        if late:
            self._flush()
        for mine, (peer, _, seconds, _) in late:
            failures = [life.failure(seconds) for life in mine]
            peer.send({"ok": True, "not_ready": [failure for failure in failures if failure]})

    def _of(self, keys: Collection[Key] | None) -> list[ContainerState]:
        return [life for key, life in self._containers.items() if keys is None or key in keys]


def _is_over(lives: Iterable[ContainerState], deadline: float) -> bool:
    return deadline <= time.monotonic() or all(life.settled for life in lives)
