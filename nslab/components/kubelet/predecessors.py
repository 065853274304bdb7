"""Pods that must be ready before another may start, wherever they run: control knows when they are.

The StatefulSet controller makes one pod after the other. Here all are made at once, and a node starts the containers of
a later one when control says that the one before is ready.
"""

from __future__ import annotations

from nslab.components.runtime.control_client import ControlConnection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.components.runtime.loop import Loop


class Predecessors:
    """The pods, as NAMESPACE/NAME, that pods of a node wait for, by the network namespaces of these."""

    def __init__(self, loop: Loop, run: str, came: Callable[[], None]) -> None:
        self._loop, self._run, self._came = loop, run, came
        self._waiting: dict[str, str] = {}
        self._passed: set[str] = set()
        self._line: ControlConnection | None = None

    def block(self, ns: str, pod: str) -> bool:
        """Whether a pod has to wait for another; if so, `came` is called when it need not any more."""
        if ns in self._passed:
            return False
        if self._waiting.get(ns) != pod:
            self._waiting[ns] = pod
            self._ask()
        return True

    def let_pass(self, ns: str) -> None:
        """A pod has started already: only its first start waits."""
        self._passed.add(ns)
        self._waiting.pop(ns, None)

    def forget(self, ns: str) -> None:
        """A pod is removed."""
        self._passed.discard(ns)
        self._waiting.pop(ns, None)

    def _ask(self) -> None:
        if self._line:
            self._line.send(self._message())
        else:
            self._line = ControlConnection(self._loop, self._run, self._message, self._hear)

    def _message(self) -> dict[str, Any]:
        return {"op": "await", "pods": sorted({*self._waiting.values()})}

    def _hear(self, message: dict[str, Any]) -> None:
        ready = message.get("ready", ())
        for ns in [ns for ns, pod in self._waiting.items() if pod in ready]:
            self.let_pass(ns)
        self._came()
