"""What a node does with a container over all its runs: starts it, takes it over, restarts it, ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from nslab.components.kubelet.attempt import Attempt
from nslab.components.kubelet.container_state import INITIALIZING, ContainerState
from nslab.components.kubelet.events import STARTED, back_off, pulled
from nslab.components.kubelet.exit_status import OOM_KILLED, UNKNOWN, exit_code, reason_of
from nslab.components.kubelet.restart import again
from nslab.components.kubelet.termination import Termination

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from nslab.components.kubelet.container import Spec
    from nslab.components.kubelet.container_state import KubeletForContainers
    from nslab.components.kubelet.fdstore import Kept, Pipes
    from nslab.components.kubelet.prober import Ran
    from nslab.components.kubelet.sandbox import PodSandbox
    from nslab.runtime.health_check import HealthCheck

FOREVER = 86400.0
"""Seconds that a postStart hook may take."""


class ContainerManager(ContainerState):
    """A container, and what is done with it: it is started, probed, restarted, and ended."""

    __slots__ = ("_hooked", "_oom_kills", "_starting", "_termination")

    def __init__(
        self, kubelet: KubeletForContainers, spec: Spec, pod: PodSandbox, past: dict[str, Any] | None = None
    ) -> None:
        """`past`: the status that an earlier nslab-node stored."""
        super().__init__(kubelet, spec, pod, past or {})
        self._hooked = self._starting = False  # whether its postStart hook was run, and still runs
        self._termination, self._oom_kills = Termination(), 0

    def defer(self) -> int:
        """Wait until what comes before it lets it (`start_late`); it has no number yet."""
        self.state, self.reason = "waiting", INITIALIZING
        return 0

    def start_late(self) -> None:
        """Start what had to wait."""
        try:
            self.start()
            self._kubelet.changed()
        except OSError as error:
            self._could_not_start(error)

    def start(self) -> int:
        """Start a run and return its pid."""
        self._forget_attempt()
        self.state, self.reason, self.message = "waiting", "ContainerCreating", ""
        self._probes.reset()
        self._termination.reset()
        self._started, self._began = round(time.time(), 3), time.monotonic()
        self._hooked = self._starting = False
        if self.restarts:
            self._had_no_memory()  # another run than this
        if self.spec.image:
            self.record("Pulled", pulled(self.spec))
        pid, pipes = self._kubelet.launch(self.spec, self.restarts)
        self.record("Created", "Container created")
        self._begin(pid, pipes)
        return pid

    def adopt(self, attempt: int, pid: int, pipes: Pipes) -> None:
        """Take over a run that an earlier process of this node started."""
        self._had_no_memory()
        now = time.time()
        if attempt != self.restarts or not self._started:
            self._started = round(now, 3)
        self._began = time.monotonic() - max(0.0, now - self._started)
        self.restarts, self.state, self.reason = attempt, "waiting", "ContainerCreating"
        self._hooked = True
        self._begin(pid, pipes)

    def resume(self, last: Kept | None) -> None:
        """Continue with a container that does not run: it waited, or was terminated, or ended without nslab-node.

        `last`: its last run, and the pipes with its remaining output.
        """
        self._had_no_memory()
        if last:
            self.restarts, pipes = last
            self.attempt = self._attempt(0, pipes)
            self.attempt.alive, self.attempt.runs = False, True
        if self.deferred and not self.terminating:
            return
        if self.reason == "CrashLoopBackOff" and not self.terminating:
            self._again(self._restarts.left(self._finished))
        elif self.state != "terminated":
            self.ended(UNKNOWN)

    def ended(self, status: int) -> None:
        """Handle the end of its process; `status` as subprocess has it."""
        attempt = self.attempt
        if attempt:
            attempt.ended(status)
        self._probes.end()
        self._finished, self._exit_code = round(time.time(), 3), exit_code(status)
        started = attempt is None or attempt.runs
        if attempt and not started:
            self.record("Failed", f"Error: {attempt.complaint}")
        elif not self._hooked:
            self.record("Started", STARTED)
        reason = reason_of(status, started, oom=self._had_no_memory())
        if attempt and reason == OOM_KILLED:
            attempt.complaint += ", out of memory"
        if again(self.spec.restart, self._exit_code) and not self.terminating:
            self._last = {"reason": reason, "exit_code": self._exit_code}
            self._last |= {"started": self._started, "finished": self._finished}
            if attempt and not started:
                self._last["message"] = attempt.complaint
            self._restarts.ended(time.monotonic() - self._began)
            self._again(self._restarts.delay)
            return
        self.state, self.reason = "terminated", reason
        if attempt and not started:
            self.message = attempt.complaint
        self._kubelet.changed()

    def terminate(self, seconds: float) -> None:
        """End it for good, as the kubelet does: its preStop hook, TERM, and KILL when so many seconds are over."""
        sooner = self._termination.is_sooner(seconds)
        if self.terminating and not (sooner if self.alive else self.state == "waiting"):
            return
        if self.alive and not self.terminating:
            self.record("Killing", f"Stopping container {self.spec.container}")
        self.terminating = True
        self._restarts.cancel()
        if self.alive:
            self._termination.begin(self, seconds)
        elif self.state == "waiting":
            self.state, self.reason = "terminated", (self._last or {}).get("reason", "Error")
        self._kubelet.changed()

    def kill(self, *reasons: str) -> None:
        """End its run; the last reason is its message."""
        for reason in reasons:
            self.log(reason)
        self.record("Killing", reasons[-1])
        self.message = reasons[-1]
        self._termination.begin(self, self.spec.grace)
        self._kubelet.changed()

    def send_signal(self, pid: int, number: int) -> None:
        """Send a signal to its process, if that still has this pid."""
        if self.pid == pid:
            with contextlib.suppress(ProcessLookupError):
                descriptor = self._kubelet.open(pid)
                try:
                    signal.pidfd_send_signal(descriptor, number)
                finally:
                    os.close(descriptor)

    def record(self, reason: str, message: str) -> None:
        """Record an event of it."""
        self._kubelet.record(self, reason, message)

    def log(self, text: str) -> None:
        """Write to the node's log."""
        print(f"{self.pod.namespace}/{self.pod.pod}: {text}", flush=True)

    def forget(self) -> None:
        """Stop managing it; its logs stay until its pod is removed."""
        self._restarts.cancel()
        self._probes.end()
        self._forget_attempt()

    def _attempt(self, pid: int, pipes: Pipes) -> Attempt:
        kubelet = self._kubelet
        return Attempt(kubelet.loop, kubelet.context, self.spec, self.pod, self.restarts, pid, pipes, self._changed)

    def _begin(self, pid: int, pipes: Pipes) -> None:
        self.attempt = self._attempt(pid, pipes)
        self.attempt.begin()
        if self.attempt.runs:
            self._changed()

    def _changed(self) -> None:
        attempt = self.attempt
        if not attempt or not attempt.alive:
            return
        if attempt.runs and not self._hooked:
            self._hooked = True
            self.record("Started", STARTED)
            if hook := self.spec.post_start:
                self._post_start(hook)
                return
        if attempt.runs and self.state != "running" and not self._starting:
            self.state, self.reason = "running", ""
            self._probes.begin(self)
        if attempt.answers:
            self._probes.hasten()
        self._kubelet.changed()

    def _post_start(self, hook: dict[str, Any]) -> None:
        """It counts as running when its hook is over; if that fails, it is killed."""
        self._starting, attempt = True, self.attempt

        def done(wrong: str) -> None:
            if self.attempt is not attempt or not self.alive:
                return
            self._starting = False
            if wrong:
                self.record("FailedPostStartHook", f"PostStartHook failed: {wrong}")
                self.kill(f"PostStartHook of container {self.spec.container} failed: {wrong}")
            self._changed()

        self.hook(hook, FOREVER, done)

    def hook(self, hook: dict[str, Any], seconds: float, done: Callable[[str], None]) -> None:
        """Run a hook for at most `seconds`; then call `done` with its error, or ""."""
        from nslab.components.kubelet import hooks  # memory of each node, needed by few

        hooks.run(self.loop, self.pod.address, hook, seconds, self.command, done)

    def command(self, check: HealthCheck, done: Ran) -> None:
        """Have a process run a probe or a hook; then call `done`."""
        self._kubelet.command(self.spec, self.pod.address, check, done)

    def changed(self) -> None:
        """Handle its change."""
        self._kubelet.changed()

    def _again(self, wait: float) -> None:
        """Restart it after `wait` seconds."""
        if wait:
            self.state, self.reason = "waiting", "CrashLoopBackOff"
            message, text = back_off(self.pod, self.spec.container, wait)
            self.message = self.message or message
            self.record("BackOff", text)
        self._restarts.schedule(self.loop, wait, self.start_late)
        if wait:
            self._kubelet.changed()

    def _could_not_start(self, error: OSError) -> None:
        self.message = error.strerror or str(error)
        self.record("Failed", f"Error: {self.message}")
        self._restarts.could_not_start()
        self._again(self._restarts.delay)

    def _had_no_memory(self) -> bool:
        """Whether the OOM killer was active in its control group since the last call."""
        before, self._oom_kills = self._oom_kills, self._kubelet.context.groups.oom_kills(self.spec.group)
        return self._oom_kills > before

    def _forget_attempt(self) -> None:
        if self.attempt:
            self.attempt.forget()
            self.attempt = None
            self._kubelet.let_go(self.spec)
