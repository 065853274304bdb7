"""What results of probes mean for a container; processes that run probes are played."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from nslab.components.kubelet.container import Spec
from nslab.components.kubelet.probes import Probes
from nslab.components.runtime.loop import Loop
from nslab.runtime.health_check import HealthCheck

if TYPE_CHECKING:
    from nslab.components.kubelet.prober import Ran

MISSING = (2, b"no client here")
SERVING = (0, b"")
NOT_SERVING = (1, b"not now")


class Container:
    """A container whose probe processes leave what they are told to, the last again and again."""

    def __init__(self, *left: tuple[int, bytes], **probes: Any) -> None:
        self.spec = Spec("nslab.x.p", "app", ["x"], [], "/", 0, "", **probes)
        self.pod: Any = SimpleNamespace(address="20.96.0.7")
        self.loop, self.alive, self.message = Loop(), True, ""
        self.asked = 0
        self._left = list(left)
        self.killed: list[str] = []
        self.lines: list[str] = []
        self.events: list[tuple[str, str]] = []

    def record(self, reason: str, message: str) -> None:
        self.events.append((reason, message))

    def command(self, check: HealthCheck, done: Ran) -> None:
        self.asked += 1
        left = self._left.pop(0) if len(self._left) > 1 else self._left[0]
        self.loop.at(0, lambda: done(*left))

    def changed(self) -> None:
        pass

    def kill(self, *reasons: str) -> None:
        self.killed += reasons

    def log(self, text: str) -> None:
        self.lines.append(text)


def run(container: Container) -> Probes:
    """Its probes, after some of their periods."""
    probes = Probes({"ready": False})
    probes.begin(container)
    probes.hasten()
    while container.asked < 9 and not container.killed:
        container.loop.turn()
    probes.end()
    return probes


def asked() -> dict[str, Any]:
    return HealthCheck("grpc", 5000, period=0.001, failures=2).fields()


@pytest.mark.parametrize(
    ("left", "ready", "message"),
    [
        ([SERVING], True, ""),
        ([NOT_SERVING], False, "Readiness probe failed: not now"),
        ([MISSING], False, "Readiness probe errored: no client here"),
        ([SERVING, MISSING], True, "Readiness probe errored: no client here"),
        ([MISSING, SERVING], True, ""),
    ],
)
def test_what_could_not_be_asked_changes_no_readiness(left: list[tuple[int, bytes]], ready: bool, message: str) -> None:
    container = Container(*left, readiness=asked())
    assert (run(container).ready(container.spec), container.message) == (ready, message)


def test_what_could_not_be_asked_kills_nobody_and_is_said_once() -> None:
    container = Container(MISSING, liveness=asked())
    run(container)
    assert (container.killed, container.lines) == ([], ["Liveness probe errored: no client here"])
    container = Container(NOT_SERVING, liveness=asked())
    run(container)
    assert container.killed[0] == "Liveness probe failed: not now"
