"""The probes of a container: which of them run, and what their results mean for it."""

from __future__ import annotations

from functools import partial

from nslab.components.kubelet.health import Health
from nslab.components.kubelet.prober import Prober
from nslab.runtime.health_check import HealthCheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from nslab.components.kubelet.container import Spec
    from nslab.components.kubelet.prober import Ran
    from nslab.components.kubelet.sandbox import PodSandbox
    from nslab.components.runtime.loop import Loop

    class ProbedContainer(Protocol):
        """What probes need of their container (nslab.components.kubelet.container_manager)."""

        spec: Spec
        pod: PodSandbox
        message: str

        @property
        def alive(self) -> bool:
            """Whether its process runs."""

        @property
        def loop(self) -> Loop:
            """The loop of its node."""

        def command(self, check: HealthCheck, done: Ran) -> None:
            """Have a process run a probe; then call `done`."""

        def changed(self) -> None:
            """Handle its change."""

        def kill(self, *reasons: str) -> None:
            """End its run; the last reason is its message."""

        def record(self, reason: str, message: str) -> None:
            """Record an event of it."""

        def log(self, text: str) -> None:
            """Write to the node's log."""

    Judge = Callable[[ProbedContainer, HealthCheck, str], None]


TIMEOUT = 1.0
"""Seconds that a port may take to answer before the first probe, which is one period away from the second."""


class Probes:
    """The health of a container by its probes. Those of readiness and liveness wait for the startup probe."""

    __slots__ = ("_liveness", "_probers", "_readiness", "_startup")

    def __init__(self, past: dict[str, Any]) -> None:
        """`past`: the status of the container that an earlier nslab-node stored."""
        self._probers: list[Prober] = []
        # A container that was ready stays ready until a probe fails.
        self._readiness, self._liveness = Health(bool(past.get("ready"))), Health(True)
        self._startup = Health(bool(past) and not past.get("starting"))

    def reset(self) -> None:
        """Know nothing of a new run."""
        self._readiness, self._liveness, self._startup = Health(False), Health(True), Health(False)

    def started(self, spec: Spec) -> bool:
        """Whether the startup probe, if there is one, has succeeded."""
        return spec.startup is None or self._startup.good

    def ready(self, spec: Spec) -> bool:
        """Whether the readiness probe, if there is one, has succeeded."""
        return spec.readiness is None or self._readiness.good

    def begin(self, container: ProbedContainer) -> None:
        """Run the probes that it is time for."""
        spec = container.spec
        probes = (("Readiness", spec.readiness, self._is_ready), ("Liveness", spec.liveness, self._is_well))
        for name, check, judge in probes if self.started(spec) else (("Startup", spec.startup, self._has_started),):
            if check:
                prober = Prober(
                    container.loop,
                    container.pod.address,
                    HealthCheck(**check),
                    partial(self._heard, container, name, judge),
                    container.command,
                )
                self._probers.append(prober)
                prober.begin(TIMEOUT)

    def hasten(self) -> None:
        """Run the first probes now: the container answers."""
        for prober in self._probers:
            prober.hasten()

    def end(self) -> None:
        """Run no more probes."""
        for prober in self._probers:
            prober.stop()
        self._probers = []

    def _heard(
        self, container: ProbedContainer, name: str, judge: Judge, check: HealthCheck, wrong: str, known: bool
    ) -> None:
        """Judge the container by a result. If the probe could not run, say so and leave its health, as the kubelet."""
        errored = f"{name} probe errored: "
        if wrong:
            container.record("Unhealthy", f"{name} probe failed: {wrong}" if known else errored + wrong)
        if known:
            if container.message.startswith(errored):
                container.message = ""
                container.changed()
            judge(container, check, wrong)
        elif container.message != errored + wrong:
            container.message = errored + wrong
            container.log(container.message)
            container.changed()

    def _is_ready(self, container: ProbedContainer, check: HealthCheck, wrong: str) -> None:
        before = container.message, self._readiness.good
        self._readiness.hear(check, not wrong)
        container.message = f"Readiness probe failed: {wrong}" if wrong else ""
        if before != (container.message, self._readiness.good):
            container.changed()

    def _has_started(self, container: ProbedContainer, check: HealthCheck, wrong: str) -> None:
        """The other probes wait for this one; who does not start in time is killed."""
        self._startup.hear(check, not wrong)
        container.message = f"Startup probe failed: {wrong}" if wrong else ""
        if self._startup.good:
            self.end()
            self.begin(container)
        elif wrong and self._startup.run >= check.failures and container.alive:
            self.end()
            name = container.spec.container
            container.kill(container.message, f"Container {name} failed startup probe, will be restarted")
        container.changed()

    def _is_well(self, container: ProbedContainer, check: HealthCheck, wrong: str) -> None:
        self._liveness.hear(check, not wrong)
        if wrong and not self._liveness.good and container.alive:
            self.end()
            name = container.spec.container
            container.kill(
                f"Liveness probe failed: {wrong}", f"Container {name} failed liveness probe, will be restarted"
            )
