"""Who watches: the components of nodes, what each has not been told yet, and who waits until they have followed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from typing import Any

    from nslab.components.runtime.peers import Peer

    Document = dict[str, Any]

KUBE_PROXY, FELIX = "kube-proxy", "felix"


class Watcher:
    """The connection of a component. `dirty`: the keys of Services to send, None for all; for a Felix all or none."""

    def __init__(self, component: str, node: str, peer: Peer) -> None:
        self.component, self.node, self.peer = component, node, peer
        self.dirty: set[str] | None = None
        self.sent = self.acked = -1
        self.report: Document = {}

    @property
    def works(self) -> bool:
        """Whether it has not acknowledged the last update yet."""
        return self.sent > self.acked

    @property
    def followed(self) -> bool:
        """Whether it has acknowledged everything that concerns it."""
        return not self.works and self.dirty == set()


class Put:
    """A client that waits until components have followed: those of nodes in `expect`, by component.

    All that watch of a component that is not there.
    """

    def __init__(self, peer: Peer, generation: int, expect: Mapping[str, Iterable[str]], deadline: float) -> None:
        self.peer, self.generation, self.deadline = peer, generation, deadline
        self.expect = {component: frozenset(nodes) for component, nodes in expect.items()}

    def has(self, watcher: Watcher) -> bool:
        """Whether a component has followed it. A Felix, whose updates are counted on their own: all there is by now."""
        return watcher.followed if watcher.component == FELIX else watcher.acked >= self.generation


def late(put: Put, watchers: Collection[Watcher], taken_over: Collection[str]) -> set[tuple[str, str]]:
    """The components that have not followed: (component, node). `taken_over`: nodes whose kube-proxies need not."""
    found = set()
    for component in (KUBE_PROXY, FELIX):
        here = [watcher for watcher in watchers if watcher.component == component]
        followed = {watcher.node for watcher in here if put.has(watcher)}
        expect = put.expect.get(component, frozenset(watcher.node for watcher in here))
        found |= {(component, node) for node in expect - followed - {*(taken_over if component == KUBE_PROXY else ())}}
    return found


def failures(put: Put, watchers: Iterable[Watcher]) -> dict[str, dict[str, str]]:
    """What components that followed could not write, node by node: Services with reasons.

    "": all of them; a Felix: what it could not write.
    """
    found: dict[str, dict[str, str]] = {}
    for watcher in watchers:
        if not put.has(watcher) or not watcher.report:
            continue
        reasons = dict(watcher.report.get("refused", {}))
        if error := watcher.report["error"]:
            reasons[FELIX if watcher.component == FELIX else ""] = error
        if reasons:
            found.setdefault(watcher.node, {}).update(reasons)
    return dict(sorted(found.items()))
