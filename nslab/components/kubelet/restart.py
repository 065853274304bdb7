"""A container over all its runs: restarts with the kubelet's back-off, probes, and liveness kills."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from nslab.components.kubelet.attempt import UNKNOWN, Attempt
from nslab.components.kubelet.health import Prober, Verdict
from nslab.runtime.health_check import HealthCheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol, TypeAlias

    from nslab.components.kubelet.container import Spec
    from nslab.components.kubelet.fdstore import Kept, Pipes
    from nslab.components.kubelet.sandbox import Sandbox
    from nslab.components.runtime.loop import Loop
    from nslab.components.runtime.node_context import NodeContext

    Ran: TypeAlias = Callable[[int | None, bytes], None]

    class Kubelet(Protocol):
        """The interface of the node's process for a container (nslab.components.kubelet.agent)."""

        loop: Loop
        context: NodeContext

        def launch(self, spec: Spec, attempt: int) -> tuple[int, Pipes]:
            """Fork its process for run number `attempt`; return its pid and the ends of its pipes."""

        def open(self, pid: int) -> int:
            """A pidfd of its process."""

        def let_go(self, spec: Spec) -> None:
            """Drop its pipes from the pod's store."""

        def command(self, spec: Spec, argv: list[str], seconds: float, done: Ran) -> None:
            """Run a command in it, so long at most; then `done`: its exit status, if it has one, and its output."""

        def stuck(self, life: ContainerManager) -> bool:
            """Whether it waits for an init container that has failed."""

        def changed(self) -> None:
            """Handle its change."""


LONGEST = 300.0
"""The longest back-off of the kubelet, in seconds."""
FORGIVEN = 600.0
"""Seconds of running after which the back-off starts again."""
TIMEOUT = 1.0
"""Seconds that a port may take to answer before the first probe, which is one period away from the second."""
LEAST = 2.0
"""Seconds that TERM has at least after a preStop hook, however long that took."""

FOREVER = 86400.0
"""Seconds that a postStart hook may take."""
SOONER = 0.05
"""Seconds by which it must be killed earlier than was said, to be told so."""

OOM_KILLED = "OOMKilled"
INITIALIZING = "PodInitializing"


def again(policy: str, exit_code: int) -> bool:
    """Whether to restart a container that ended."""
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def longer(delay: float, base: float) -> float:
    """The wait after a wait of `delay`: none, then 10 s, 20 s … 300 s."""
    return min(max(base, 2 * delay), LONGEST)


def exit_code(status: int) -> int:
    """The exit code of a container runtime: 128 + signal. An unknown status counts as SIGKILL, as in the kubelet."""
    return 128 + signal.SIGKILL if status == UNKNOWN else status if status >= 0 else 128 - status


class ContainerManager:
    """One container: its current run, the number of earlier ones, and its health.

    `state`, `reason` and `ready` are what kubectl shows; `_last` is the end of the previous run. Times are seconds
    since 1970, so that they survive this process. As that clock may be set, the monotonic clock measures how long a
    run lasted, and a resumed wait is never longer than the original one.
    """

    __slots__ = (
        "_began", "_delay", "_due", "_exit_code", "_finished", "_hooked", "_kill_at", "_kubelet", "_last",
        "_liveness", "_oom_kills", "_probers", "_readiness", "_started", "_starting", "_startup", "attempt",
        "message", "pod", "reason", "restarts", "spec", "state", "terminating",
    )  # fmt: skip

    def __init__(self, kubelet: Kubelet, spec: Spec, pod: Sandbox, past: dict[str, Any] | None = None) -> None:
        self._kubelet, self.spec, self.pod = kubelet, spec, pod
        self.attempt: Attempt | None = None
        past = past or {}
        self.state: str = past.get("state", "waiting")
        self.reason: str = past.get("reason", "ContainerCreating")
        self.message: str = past.get("message", "")
        self.restarts: int = past.get("restarts", 0)
        self._exit_code: int | None = past.get("exit_code")
        self._started: float = past.get("started", 0.0)
        self._finished: float = past.get("finished", 0.0)
        self._delay: float = past.get("delay", 0.0)
        self._last: dict[str, Any] | None = past.get("last")
        self._oom_kills = 0
        self.terminating: bool = past.get("terminating", False)  # it is not started again
        self._hooked = self._starting = False  # whether its postStart hook was run, and still runs
        self._kill_at = 0.0  # when it is killed, which was told to end; 0: it was not
        self._due = 0.0  # when it is started again; 0: it is not
        self._began = time.monotonic()
        self._probers: list[Prober] = []
        # A container that was ready stays ready until a probe fails.
        self._readiness, self._liveness = Verdict(bool(past.get("ready"))), Verdict(True)
        self._startup = Verdict(bool(past) and not past.get("starting"))

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self.attempt is not None and self.attempt.alive

    @property
    def pid(self) -> int:
        """The pid of its process; 0 without one."""
        return self.attempt.pid if self.attempt and self.attempt.alive else 0

    @property
    def ready(self) -> bool:
        """Whether it counts as ready: it has started, and its readiness probe, if it has one, succeeded."""
        return self.started and (self.spec.readiness is None or self._readiness.good)

    @property
    def ordered(self) -> bool:
        """Whether it is an init container, or comes after one or after another pod."""
        return bool(self.spec.init or self.spec.after or self.spec.behind)

    @property
    def deferred(self) -> bool:
        """Whether it waits for init containers, or for another pod."""
        return self.state == "waiting" and self.reason == INITIALIZING

    @property
    def passed(self) -> bool:
        """Whether what comes after this init container may start: its work is done, or as a sidecar it has begun."""
        return self.started if self.spec.init == "sidecar" else self.state == "terminated" and self._exit_code == 0

    @property
    def started(self) -> bool:
        """Whether it has started: it runs, and its startup probe, if it has one, has succeeded."""
        return self.state == "running" and (self.spec.startup is None or self._startup.good)

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
            behind = f": pod {self.spec.behind.rpartition('/')[2]} is not ready" if self.spec.behind else ""
            reason = f"did not start in {seconds:g} s{behind}"
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
            "delay": self._delay,
        }
        more = {"message": self.message, "last": self._last, "terminating": self.terminating, "init": self.spec.init}
        more["starting"] = self.spec.startup is not None and not self._startup.good
        return {**seen, **{name: value for name, value in more.items() if value}}

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
        self._readiness, self._liveness, self._startup = Verdict(False), Verdict(True), Verdict(False)
        self._started, self._began = round(time.time(), 3), time.monotonic()
        self._kill_at, self._hooked, self._starting = 0.0, False, False
        if self.restarts:
            self._had_no_memory()  # another run than this
        pid, pipes = self._kubelet.launch(self.spec, self.restarts)
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
            self._again(min(max(0.0, self._finished + self._delay - time.time()), self._delay))
        elif self.state != "terminated":
            self.ended(UNKNOWN)

    def ended(self, status: int) -> None:
        """Handle the end of its process; `status` as subprocess has it."""
        attempt = self.attempt
        if attempt:
            attempt.ended(status)
        self._end_probers()
        self._finished, self._exit_code = round(time.time(), 3), exit_code(status)
        started = attempt is None or attempt.runs
        reason = reason_of(status, started, oom=self._had_no_memory())
        if attempt and reason == OOM_KILLED:
            attempt.complaint += ", out of memory"
        if again(self.spec.restart, self._exit_code) and not self.terminating:
            self._last = {"reason": reason, "exit_code": self._exit_code}
            self._last |= {"started": self._started, "finished": self._finished}
            if attempt and not started:
                self._last["message"] = attempt.complaint
            if time.monotonic() - self._began >= FORGIVEN:
                self._delay = 0.0
            self._again(self._delay)
            return
        self.state, self.reason = "terminated", reason
        if attempt and not started:
            self.message = attempt.complaint
        self._kubelet.changed()

    def terminate(self, seconds: float) -> None:
        """End it for good, as the kubelet does: its preStop hook, TERM, and KILL when so many seconds are over."""
        sooner = not self._kill_at or time.monotonic() + seconds < self._kill_at - SOONER
        if self.terminating and not (sooner if self.alive else self.state == "waiting"):
            return
        self.terminating, self._due = True, 0.0
        if self.alive:
            self._end(seconds)
        elif self.state == "waiting":
            self.state, self.reason = "terminated", (self._last or {}).get("reason", "Error")
        self._kubelet.changed()

    def _end(self, seconds: float) -> None:
        """Have its present run end. It never gets more time than it was first given."""
        pid, kill_at, first = self.pid, time.monotonic() + seconds, not self._kill_at
        self._kill_at = kill_at = kill_at if first else min(self._kill_at, kill_at)
        hook = self.spec.pre_stop if self.state == "running" else None

        def stop(wrong: str = "") -> None:
            if self._kill_at and self.pid == pid:
                self._told(f"PreStopHook of container {self.spec.container} failed: {wrong}" if wrong else "")
                self._signal(pid, signal.SIGTERM)
                self._kill_later(pid, max(self._kill_at, time.monotonic() + LEAST) if hook else self._kill_at)

        if not first or not seconds:
            self._kill_later(pid, kill_at)
        elif hook:
            self._hook(hook, seconds, stop)
        else:
            stop()

    def _kill_later(self, pid: int, moment: float) -> None:
        self._kubelet.loop.at(moment, lambda: self._signal(pid, signal.SIGKILL))

    def _told(self, text: str) -> None:
        if text:
            print(f"{self.pod.namespace}/{self.pod.pod}: {text}", flush=True)

    def forget(self) -> None:
        """Stop managing it; its logs stay until its pod is removed."""
        self._due = 0.0
        self._end_probers()
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
        if attempt.runs and not self._hooked and (hook := self.spec.post_start):
            self._hooked = True
            self._post_start(hook)
            return
        if attempt.runs and self.state != "running" and not self._starting:
            self.state, self.reason = "running", ""
            self._probe()
        if attempt.answers:
            for prober in self._probers:
                prober.hasten()
        self._kubelet.changed()

    def _post_start(self, hook: dict[str, Any]) -> None:
        """It counts as running when its hook is over; if that fails, it is killed."""
        self._starting, attempt = True, self.attempt

        def done(wrong: str) -> None:
            if self.attempt is not attempt or not self.alive:
                return
            self._starting = False
            if wrong:
                self._kill(f"PostStartHook of container {self.spec.container} failed: {wrong}")
            self._changed()

        self._hook(hook, FOREVER, done)

    def _hook(self, hook: dict[str, Any], seconds: float, done: Callable[[str], None]) -> None:
        from nslab.components.kubelet import hooks  # memory of each node, needed by few

        hooks.run(self._kubelet.loop, self.pod.address, hook, seconds, self._run, done)

    def _again(self, wait: float) -> None:
        """Restart it after `wait` seconds."""
        if not wait:
            self._restart()
            return
        self.state, self.reason = "waiting", "CrashLoopBackOff"
        due = self._due = time.monotonic() + wait

        def restart() -> None:
            if self._due == due:
                self._restart()

        self._kubelet.loop.at(due, restart)
        self._kubelet.changed()

    def _restart(self) -> None:
        self._due = 0.0
        self.restarts += 1
        self._delay = longer(self._delay, self.spec.backoff)
        try:
            self.start()
            self._kubelet.changed()
        except OSError as error:
            self._could_not_start(error)

    def _could_not_start(self, error: OSError) -> None:
        self.message = error.strerror or str(error)
        self._delay = self._delay or self.spec.backoff
        self._again(self._delay)

    def _probe(self) -> None:
        loop, address = self._kubelet.loop, self.pod.address
        probes = ((self.spec.readiness, self._is_ready), (self.spec.liveness, self._is_well))
        for check, news in probes if self.started else ((self.spec.startup, self._has_started),):
            if check:
                self._probers.append(Prober(loop, address, HealthCheck(**check), news, self._run))
                self._probers[-1].begin(TIMEOUT)

    def _run(self, argv: list[str], seconds: float, done: Ran) -> None:
        self._kubelet.command(self.spec, argv, seconds, done)

    def _is_ready(self, check: HealthCheck, wrong: str) -> None:
        before = self.message, self._readiness.good
        self._readiness.hear(check, not wrong)
        self.message = f"Readiness probe failed: {wrong}" if wrong else ""
        if before != (self.message, self._readiness.good):
            self._kubelet.changed()

    def _has_started(self, check: HealthCheck, wrong: str) -> None:
        """The other probes wait for this one; who does not start in time is killed."""
        self._startup.hear(check, not wrong)
        self.message = f"Startup probe failed: {wrong}" if wrong else ""
        if self._startup.good:
            self._end_probers()
            self._probe()
        elif wrong and self._startup.run >= check.failures and self.alive:
            self._end_probers()
            self._told(self.message)
            self._kill(f"Container {self.spec.container} failed startup probe, will be restarted")
        self._kubelet.changed()

    def _is_well(self, check: HealthCheck, wrong: str) -> None:
        self._liveness.hear(check, not wrong)
        if wrong and not self._liveness.good and self.alive:
            self._end_probers()
            self._told(f"Liveness probe failed: {wrong}")
            self._kill(f"Container {self.spec.container} failed liveness probe, will be restarted")

    def _kill(self, why: str) -> None:
        self._told(why)
        self.message = why
        self._end(self.spec.grace)
        self._kubelet.changed()

    def _signal(self, pid: int, number: int) -> None:
        if self.pid == pid:
            with contextlib.suppress(ProcessLookupError):
                descriptor = self._kubelet.open(pid)
                try:
                    signal.pidfd_send_signal(descriptor, number)
                finally:
                    os.close(descriptor)

    def _end_probers(self) -> None:
        for prober in self._probers:
            prober.stop()
        self._probers = []

    def _had_no_memory(self) -> bool:
        """Whether the OOM killer was active in its control group since the last call."""
        before, self._oom_kills = self._oom_kills, self._kubelet.context.groups.oom_kills(self.spec.group)
        return self._oom_kills > before

    def _forget_attempt(self) -> None:
        if self.attempt:
            self.attempt.forget()
            self.attempt = None
            self._kubelet.let_go(self.spec)


def reason_of(status: int, started: bool, oom: bool = False) -> str:
    """The kubelet's reason for the end of a container. `oom`: the OOM killer was active in it."""
    if oom and status:
        return OOM_KILLED
    if status == UNKNOWN:
        return "ContainerStatusUnknown"
    if not started:
        return "StartError"
    return "Error" if status else "Completed"
