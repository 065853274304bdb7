"""What a container is doing, as kubectl shows it and as those who wait for it want to know."""

from __future__ import annotations

import time

from nslab.components.kubelet.probes import Probes
from nslab.components.kubelet.restart import Restarts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from nslab.components.kubelet.attempt import Attempt
    from nslab.components.kubelet.container import Spec
    from nslab.components.kubelet.fdstore import Pipes
    from nslab.components.kubelet.prober import Ran
    from nslab.components.kubelet.sandbox import PodSandbox
    from nslab.components.runtime.loop import Loop
    from nslab.components.runtime.node_context import NodeContext
    from nslab.runtime.health_check import HealthCheck

    class KubeletForContainers(Protocol):
        """The interface of the node's process for a container (nslab.components.kubelet.agent)."""

        loop: Loop
        context: NodeContext

        def launch(self, spec: Spec, attempt: int) -> tuple[int, Pipes]:
            """Fork its process for run number `attempt`; return its pid and the ends of its pipes."""

        def open(self, pid: int) -> int:
            """A pidfd of its process."""

        def let_go(self, spec: Spec) -> None:
            """Drop its pipes from the pod's store."""

        def command(self, spec: Spec, address: str, check: HealthCheck, done: Ran) -> None:
            """Have a process run a probe or a hook; then call `done` with its exit status and its output."""

        def stuck(self, life: ContainerState) -> bool:
            """Whether it waits for an init container that has failed."""

        def record(self, life: ContainerState, reason: str, message: str) -> None:
            """Record an event of it."""

        def changed(self) -> None:
            """Handle its change."""


INITIALIZING = "PodInitializing"


class ContainerState:
    """One container: its current run, the number of earlier ones, and its health.

    `state`, `reason` and `ready` are what kubectl shows; `_last` is the end of the previous run. Times are seconds
    since 1970, so that they survive this process. As that clock may be set, the monotonic clock measures how long a
    run lasted, and a resumed wait is never longer than the original one.
    """

    __slots__ = (
        "_began", "_exit_code", "_finished", "_kubelet", "_last", "_probes", "_restarts", "_started", "attempt",
        "message", "pod", "reason", "spec", "state", "terminating",
    )  # fmt: skip

    def __init__(self, kubelet: KubeletForContainers, spec: Spec, pod: PodSandbox, past: dict[str, Any]) -> None:
        self._kubelet, self.spec, self.pod = kubelet, spec, pod
        self.attempt: Attempt | None = None
        self.state: str = past.get("state", "waiting")
        self.reason: str = past.get("reason", "ContainerCreating")
        self.message: str = past.get("message", "")
        self._restarts = Restarts(spec.backoff, past)
        self._exit_code: int | None = past.get("exit_code")
        self._started: float = past.get("started", 0.0)
        self._finished: float = past.get("finished", 0.0)
        self._last: dict[str, Any] | None = past.get("last")
        self.terminating: bool = past.get("terminating", False)  # it is not started again
        self._began = time.monotonic()
        self._probes = Probes(past)

    @property
    def loop(self) -> Loop:
        """The loop of its node."""
        return self._kubelet.loop

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.attempt is not None and self.attempt.alive

    @property
    def starts(self) -> bool:
        """Whether its process is on its way: it has neither the container's file system yet, nor its program."""
        return self.attempt is not None and self.attempt.alive and not self.attempt.runs

    @property
    def pid(self) -> int:
        """The pid of its process; 0 without one."""
        return self.attempt.pid if self.attempt and self.attempt.alive else 0

    @property
    def restarts(self) -> int:
        """The number of its restarts."""
        return self._restarts.count

    @restarts.setter
    def restarts(self, count: int) -> None:
        self._restarts.count = count

    @property
    def ready(self) -> bool:
        """Whether it counts as ready: it has started, and its readiness probe, if it has one, succeeded."""
        return self.started and self._probes.ready(self.spec)

    @property
    def ordered(self) -> bool:
        """Whether it is an init container, or comes after one."""
        return bool(self.spec.init or self.spec.after)

    @property
    def deferred(self) -> bool:
        """Whether it waits for init containers."""
        return self.state == "waiting" and self.reason == INITIALIZING

    @property
    def passed(self) -> bool:
        """Whether what comes after this init container may start: its work is done, or as a sidecar it has begun."""
        return self.started if self.spec.init == "sidecar" else self.state == "terminated" and self._exit_code == 0

    @property
    def over(self) -> bool:
        """Whether it has ended for good, and is not started again."""
        return self.state == "terminated"

    @property
    def started(self) -> bool:
        """Whether it has started: it runs, and its startup probe, if it has one, has succeeded."""
        return self.state == "running" and self._probes.started(self.spec)

    @property
    def settled(self) -> bool:
        """Whether who waits for it need not wait any more: it serves, or has ended, for good or for now."""
        if self.terminating or self.state != "running" or not self.attempt:
            waits = not self._kubelet.stuck(self) if self.deferred else self.reason == "ContainerCreating"
            return self.terminating or not waits
        return self.ready if self.spec.readiness or self.spec.startup else self.attempt.answers

    def failure(self, seconds: float) -> dict[str, Any] | None:
        """Why it is not ready after `seconds`; None if it is, or has completed."""
        attempt, over = self.attempt, self.state == "terminated" and self._exit_code == 0
        if over or self.terminating or (self.deferred and self.settled) or (self.state == "running" and self.settled):
            return None
        if self.state == "running" and (self.spec.readiness or self.spec.startup):
            reason = self.message or f"not ready in {seconds:g} s"
        elif self.state == "running":
            reason = f"port {self.spec.port} did not answer in {seconds:g} s"
        elif not self.settled:
            reason = f"did not start in {seconds:g} s"
        else:
            reason = (attempt.complaint if attempt else "") or self.message or self.reason
        output = attempt.log.tail.decode("utf-8", "replace") if attempt else ""
        return {"pod": self.pod.pod, "container": self.spec.container, "reason": reason, "output": output}

    def status(self) -> dict[str, Any]:
        """Its status, for the status file and control."""
        seen = {
            "ready": self.ready,
            "restarts": self.restarts,
            "state": self.state,
            "reason": self.reason,
            "exit_code": self._exit_code,
            "started": self._started,
            "finished": self._finished,
            "delay": self._restarts.delay,
        }
        more = {"message": self.message, "last": self._last, "terminating": self.terminating, "init": self.spec.init}
        more["starting"] = not self._probes.started(self.spec)
        return {**seen, **{name: value for name, value in more.items() if value}}
