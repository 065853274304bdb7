"""The order of a pod's containers: init containers first, each to its end; sidecars start before the others, and end
after them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from nslab.components.kubelet.container_manager import ContainerManager
    from nslab.components.kubelet.container_state import ContainerState
    from nslab.components.runtime.loop import Loop
    from nslab.components.runtime.node_context import NodeContext

    class KubeletForOrder(Protocol):
        """What it needs of its node's process (nslab.components.kubelet.agent)."""

        loop: Loop
        context: NodeContext
        containers: dict[tuple[str, str], ContainerManager]

        def changed(self) -> None:
            """Handle a change."""


class Order:
    """The pods of a node that have init containers, by namespace."""

    def __init__(self, agent: KubeletForOrder) -> None:
        self._agent = agent
        self._pods: set[str] = set()

    def admits(self, life: ContainerManager) -> bool:
        """Whether a container may start now. If not, it does when `go_on` finds that it may."""
        self._pods.add(life.spec.ns)
        return not self._before(life)

    def forget(self, ns: str) -> None:
        """Forget a removed pod."""
        self._pods.discard(ns)

    def stuck(self, life: ContainerState) -> bool:
        """Whether a container waits for one that has failed, for good or for now."""
        return any(other.settled and not other.alive for other in self._before(life))

    def go_on(self) -> None:
        """Start containers that need not wait any more, and end the sidecars of a pod whose work is done."""
        for ns in list(self._pods):
            lives = self.of(ns)
            for life in lives:
                if life.deferred and not self._before(life):
                    life.start_late()
            mains = [life for life in lives if not life.spec.init]
            if mains and all(life.state == "terminated" for life in mains):
                self.end(ns, None)

    def end(self, ns: str, seconds: float | None) -> None:
        """End a pod within `seconds`, None: its own grace period. A sidecar ends after all that started later."""
        lives = self.of(ns)
        sidecars = [life for life in lives if life.spec.init == "sidecar"]
        groups = [[life for life in lives if life not in sidecars], *([life] for life in reversed(sidecars))]
        for group in groups:
            for life in group:
                if seconds is not None or (life.alive and not life.terminating):
                    life.terminate(life.spec.grace if seconds is None else seconds)
            if seconds != 0 and any(life.alive for life in group):
                return

    def of(self, ns: str) -> list[ContainerManager]:
        """The containers of a pod, in their order."""
        mine = (life for (other, _), life in self._agent.containers.items() if other == ns)
        return sorted(mine, key=lambda life: len(life.spec.after))

    def _before(self, life: ContainerState) -> list[ContainerManager]:
        """The init containers for which a container still waits."""
        there = {other.spec.container: other for other in self.of(life.spec.ns)} if life.spec.after else {}
        return [other for name in life.spec.after if (other := there.get(name)) and not other.passed]
