"""Terminating pods: how much time they have left, and the clients that wait for their end."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Protocol

    from nslab.components.kubelet.container_manager import ContainerManager
    from nslab.components.kubelet.order import Order
    from nslab.components.kubelet.sandbox import PodSandbox
    from nslab.components.kubelet.status import Pods, StatusReporter
    from nslab.components.runtime.loop import Loop
    from nslab.components.runtime.peers import Peer

    class KubeletForEndings(Protocol):
        """What they need of their node's process (nslab.components.kubelet.agent)."""

        loop: Loop
        teller: StatusReporter
        sandboxes: dict[str, PodSandbox]

        @property
        def order(self) -> Order:
            """The order of containers."""

        def changed(self) -> None:
            """Handle a change."""


class Endings:
    """The pods of a node that terminate, by namespace, and when their time is over (seconds since 1970)."""

    def __init__(self, agent: KubeletForEndings) -> None:
        self._agent = agent
        self._until: dict[str, float] = {}
        self._waiting: list[tuple[Peer, list[str], bool, float]] = []

    def begin(self, pods: Mapping[str, float]) -> None:
        """Terminate pods, or single containers (POD/NAME), each within so many seconds.

        What is terminating already gets no more time.
        """
        now = time.time()
        for ns, seconds in pods.items():
            if "/" in ns:
                for life in self._lives(ns):
                    life.terminate(seconds)
                continue
            self._until[ns] = min(self._until.get(ns, now + seconds), now + seconds)
            self._end(ns)
        self._agent.changed()

    def resume(self, before: Pods) -> None:
        """Continue with the terminating pods of an earlier process of this node."""
        now = time.time()
        for ns in list(self._agent.sandboxes):
            pod = self._agent.sandboxes[ns]
            if until := before.get(f"{pod.namespace}/{pod.pod}", {}).get("terminating"):
                self.begin({ns: max(0.0, until - now)})

    def forget(self, ns: str) -> None:
        """Forget a removed pod."""
        self._until.pop(ns, None)
        self.go_on()

    def status(self, ns: str) -> dict[str, Any]:
        """What termination adds to the status of a pod."""
        if ns not in self._until:
            return {}
        return {"terminating": self._until[ns], "terminated": self._over(ns)}

    def wait(self, peer: Peer, pods: Iterable[str], deadline: float, any: bool = False) -> None:  # noqa: A002
        """Answer a client when all these pods have ended (`any`: one of them), or `deadline` seconds later."""
        moment = time.monotonic() + deadline
        self._waiting.append((peer, [*pods], any, moment))
        self._agent.loop.at(moment, self.go_on)
        self.go_on()

    def _end(self, ns: str) -> None:
        self._agent.order.end(ns, max(0.0, self._until[ns] - time.time()))

    def go_on(self) -> None:
        """Handle a change: answer the clients that need not wait any more."""
        for ns in self._until:
            if not self._over(ns):
                self._end(ns)
        now = time.monotonic()
        done = [one for one in self._waiting if one[3] <= now or (any if one[2] else all)(map(self._over, one[1]))]
        if not done:
            return
        self._waiting = [one for one in self._waiting if one not in done]
        self._agent.teller.flush()  # who waited looks there next
        for peer, *_ in done:
            peer.send({"ok": True})

    def _over(self, ns: str) -> bool:
        return not any(life.alive for life in self._lives(ns))

    def _lives(self, key: str) -> list[ContainerManager]:
        ns, _, name = key.partition("/")
        return [life for life in self._agent.order.of(ns) if name in ("", life.spec.container)]
