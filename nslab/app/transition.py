"""From the observed state of a lab to its desired state, in stages; each stage pushes its undo on one stack.

    hold       kube-proxies rest, while their rules are written here
    compare    what there is, against what is wanted
    keep       the new lab is kept beside the one before
    withdraw   Services send nothing any more to pods that go
    terminate  what is going to be removed ends by itself, if it does in time
    attach     CNI plugins wire pods, and have the last word on addresses
    execute    the plan; then containers are waited for
    admit      Felixes learn of the pods that are there now
    publish    Services, to kube-proxies that follow
    dismiss    pods that go later are told to end

If a stage fails, the undo stack runs, last stage first. A fresh lab is not undone here: the caller removes it as a
whole, which takes half as long (see nslab.app.up).
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from nslab import engine
from nslab.app.announce import announce
from nslab.app.drift import as_seen, compare, standing
from nslab.app.published import failures, published
from nslab.app.replaced import NOTHING, ended_by, is_run, times_to_end, unnamed_by, until_ended
from nslab.app.started import started, unready
from nslab.app.terminating import ended
from nslab.compiler import compile_lab
from nslab.compiler.addresses import pod_netns
from nslab.compiler.networks import network
from nslab.compiler.placement import adopted, assign_addresses
from nslab.compiler.pods import sandbox
from nslab.compiler.portmap import new_udp_ports
from nslab.compiler.services import watched
from nslab.compiler.written_by import WrittenBy
from nslab.dataclass import dataclass, field, replace
from nslab.errors import NslabError
from nslab.lab.creation import with_creation
from nslab.lab.scheduling import with_waiting
from nslab.lab.status import merge_status, with_released
from nslab.lab.termination import key, with_terminating, without, without_terminating
from nslab.linux import owned, signals
from nslab.linux.cni.plugins import Plugins
from nslab.linux.flows import forget_flows, forget_udp, translating
from nslab.linux.kernel import LinuxKernel
from nslab.linux.netns import folder
from nslab.linux.processes.control import ControlAbsent, ControlClient
from nslab.linux.processes.stopped import resume
from nslab.linux.stored_lab import StoredLab
from nslab.linux.timeouts import scaled
from nslab.objects.attachment import Attachment
from nslab.objects.plan import Add, Remove, Replace
from nslab.objects.process import Bird, Control, NodeComponent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from nslab.api.pod_types import Pod
    from nslab.app.drift import Drift
    from nslab.lab.types import Lab
    from nslab.linux.netns import Namespaces
    from nslab.linux.processes.agents import Agents, NotReady
    from nslab.linux.processes.procs import Record
    from nslab.objects.base import KernelObject
    from nslab.objects.plan import Plan, Transaction

READY_SECONDS = scaled(10.0)
SHORT = 2.0
"""Seconds that pods have to end which are not left terminating (`up`, `set`)."""


@dataclass(frozen=True, slots=True)
class Made:
    """The effect of a transition. `late`: the components that timed out or do not run, (component, node).

    `failed`: what could not be written of it, node to Service (NAMESPACE/NAME; "": all; "felix") to reason.
    `not_ready`: the containers that it started and that are not ready; `unready`: the other such pods, NAMESPACE/NAME.
    """

    drift: Drift
    not_ready: list[NotReady]
    late: tuple[tuple[str, str], ...]
    failed: Mapping[str, Mapping[str, str]]
    unready: tuple[str, ...]


@dataclass(slots=True)
class Transition:
    """One change of a lab, under its lock. `kept`: its earlier states, the newest first; empty for a fresh lab.

    What components write is written here, while they hold still, or by themselves when they are told: `written_by`.
    `leave`: pods that go stay behind, terminating, for as long as they say, or `grace` seconds; what is replaced has
    that time as well. Otherwise all have `SHORT`. `wait`: for containers to become ready.
    """

    lab: Lab
    kept: tuple[Lab, ...]
    spaces: Namespaces
    agents: Agents
    progress: Callable[[int, int], None]
    fresh: bool
    written_by: WrittenBy
    leave: bool = False
    grace: int | None = None
    wait: bool = True
    files: StoredLab = field(init=False)
    line: ControlClient = field(init=False)
    undo: ExitStack = field(init=False)
    resumed: list[Record] = field(init=False)
    plugins: Plugins = field(init=False)
    kernel: LinuxKernel = field(init=False)
    attached: Plan = field(init=False)
    dead: tuple[tuple[str, str], ...] = field(default=(), init=False)

    def run(self) -> Made:
        """Make the change; if a stage fails, undo everything and raise."""
        self.files = StoredLab(folder(self.lab.name))
        self.resumed = resume(owned.processes(self.lab.name)) if self.kept else []
        with (
            ControlClient(self.lab.name) as self.line,
            ExitStack() as held,
            ExitStack() as self.undo,
        ):
            self._hold()
            self._make_room()
            drift = self._compare()
            leaving = held.enter_context(owned.leaving(unnamed_by(drift)))
            self._keep(drift)
            self._withdraw(drift)
            self._terminate(drift)
            drift = self._attach(drift)
            self._execute(drift)
            self._admit(drift)
            if self.wait and any(pod.init for pod in drift.lab.pods):
                self._publish(drift)  # an init container may wait for a Service
            changed = started(drift, self.attached)
            not_ready = self._wait_ready(changed)
            drift = replace(drift, plan=(*self.attached, *drift.plan), stopped=standing(drift.want, self.resumed))
            late = self._publish(drift)
            self.undo.pop_all()
            self.files.done()
            self.spaces.home()
            self._dismiss(drift.lab)
            owned.kill_leftovers(self.lab.name, leaving)
            failed = failures(self.line.failed, drift.lab, None if self._writes or not self.kept else self.kept[0])
            return Made(drift, not_ready, late, failed, unready(drift.lab, changed))

    def _hold(self) -> None:
        if self._writes:
            self.line.hold()

    def _make_room(self) -> None:
        """A pod that terminates ends before another of its name begins."""
        wanted = {key(pod) for pod in self.lab.pods if not pod.deletion}
        old = self.kept[0] if self.kept else self.lab
        blocking = [pod for pod in old.pods if pod.deletion and key(pod) in wanted]
        self._end(self._times(old, blocking))
        steps = [Remove(sandbox(old, pod)) for pod in blocking]
        if steps:
            self.agents.run(steps)

    def _compare(self) -> Drift:
        lab = self.lab
        if self.kept:
            gone = ended(self.kept[0]) if self.leave else ()
            before = without(self.kept[0], gone) if self.leave else without_terminating(self.kept[0])
            lab = merge_status(without(lab, gone), before)
            lab = with_terminating(lab, before, time.time(), self.grace) if self.leave else lab
            lab = with_released(with_waiting(lab), self.kept[0])
        lab = with_creation(lab, self.kept[0] if self.kept else None, time.time())
        lab = assign_addresses(lab)
        drift = compare(self.spaces, as_seen(lab, unseen=self.wait), self.kept, self.written_by)
        if self.leave and self.kept:
            drift = self._as_dead(drift)
        self.plugins = Plugins(folder(lab.name), drift.host.iptables)
        self.kernel = LinuxKernel(self.spaces, self.agents, drift.host.iptables, self.plugins)
        return drift

    def _as_dead(self, drift: Drift) -> Drift:
        """The drift without the start of components that were killed: kubectl starts none."""
        starting = {
            step.obj.key for step in drift.plan if isinstance(step, Add) and isinstance(step.obj, NodeComponent | Bird)
        }
        if not starting:
            return drift
        killed = starting & {obj.key for obj in compile_lab(self.kept[0], drift.host, self.written_by)}
        self.dead = tuple((step.obj.key[2], step.obj.host) for step in drift.plan if step.obj.key in killed)
        return replace(drift, plan=tuple(step for step in drift.plan if step.obj.key not in killed))

    def _keep(self, drift: Drift) -> None:
        self.files.begin(drift.lab)
        self.undo.callback(self.files.back)
        if self.kept:
            self.undo.callback(self._restore, drift.lab)

    def _restore(self, lab: Lab) -> None:
        """Restore what no inverse plan contains: objects that the kernel removed together with another one."""
        before = self.kept[0]
        with suppress(NslabError, OSError):  # the user sees the error that started the rollback
            engine.best_effort(self.kernel, compare(self.spaces, before, (lab, *self.kept), self.written_by).plan)
            nodes = [node.name for node in before.nodes if self._writes]
            self.line.put(published(before), policy=network(before).snapshot(before), policy_written=nodes)

    def _withdraw(self, drift: Drift) -> None:
        if self.kept and self.written_by is WrittenBy.COMPONENTS:
            with suppress(ControlAbsent):  # the plan starts it, and then it is told
                self.line.put(published(until_ended(drift, self.kept[0])))

    def _terminate(self, drift: Drift) -> None:
        """Have what the plan ends end by itself."""
        removed = ended_by(drift)
        if not removed or not self.kept:
            return
        old = self.kept[0]
        self._end(self._times(old, [pod for pod in old.pods if pod_netns(old, pod) in removed], removed))
        replaced = [step.old for step in drift.plan if isinstance(step, Replace) and is_run(step.obj)]
        self.undo.callback(self._revive, replaced)

    def _times(
        self, lab: Lab, pods: Iterable[Pod], some: Mapping[str, Collection[str]] = NOTHING
    ) -> dict[str, dict[str, float]]:
        return times_to_end(lab, pods, time.time(), self.grace, math.inf if self.leave else SHORT, some)

    def _end(self, times: dict[str, dict[str, float]]) -> None:
        self.agents.terminate(times)
        with signals.allowed():
            self.agents.wait_terminated(times)

    def _revive(self, ended: Sequence[KernelObject]) -> None:
        """What ended to be replaced, and was not, runs again."""
        with suppress(NslabError, OSError):
            self.agents.run([Replace(obj, obj) for obj in ended])

    def _dismiss(self, lab: Lab) -> None:
        self.agents.terminate(self._times(lab, [pod for pod in lab.pods if pod.deletion]))

    def _attach(self, drift: Drift) -> Drift:
        """Run the plan up to its last attachment and return the drift that is left.

        Endpoints, DNS records and probes depend on a pod's address: if a plugin assigned another, plan them again.
        """
        last = max((number for number, step in enumerate(drift.plan) if isinstance(step.obj, Attachment)), default=-1)
        self.attached, rest = drift.plan[: last + 1], drift.plan[last + 1 :]
        if not self.attached:
            return drift
        self._apply(self.attached, lambda _: signals.check())
        lab = adopted(drift.lab, {kept.obj.ns: kept.obj.address for kept in self.plugins.kept()})
        left = replace(drift, plan=rest)
        if lab != drift.lab:
            left = compare(self.spaces, lab, (drift.lab, *self.kept), self.written_by)
        self.files.again(left.lab)
        return left

    def _execute(self, drift: Drift) -> None:
        total, done = len(drift.plan), 0

        def before(transaction: Transaction) -> None:
            nonlocal done
            self.progress(done, total)
            done += len(transaction.steps)
            signals.check()

        self._apply(drift.plan, before)
        if self.written_by is WrittenBy.COMPONENTS:
            forget_udp(self.spaces, new_udp_ports(self.kept[0], drift.lab))
        elif not self.fresh:
            forget_flows(self.spaces, translating(drift.plan))
        self.kernel.wait_until_up()
        self.progress(total, total)

    def _wait_ready(self, containers: Collection[tuple[str, str]]) -> list[NotReady]:
        if not self.wait or not containers:
            return []
        with signals.allowed():
            return self.agents.wait_ready(READY_SECONDS, containers)

    def _apply(self, plan: Plan, before: Callable[[Transaction], None]) -> None:
        engine.apply(self.kernel, plan, before, undo=not self.fresh)
        if not self.fresh:
            self.undo.callback(engine.rollback, self.kernel, plan)

    @property
    def _writes(self) -> bool:
        return self.written_by is WrittenBy.NSLAB

    def _admit(self, drift: Drift) -> None:
        """Have Felixes write what is for the new pods, from which and to which nothing is forwarded until then."""
        if not self._writes and (snapshot := network(drift.lab).snapshot(drift.lab)):
            self.line.put((), whole=False, expect={"kube-proxy": ()}, policy=snapshot)

    def _publish(self, drift: Drift) -> tuple[tuple[str, str], ...]:
        if any(isinstance(step.obj, Control) for step in drift.plan):
            self.line.close()  # the control that holds has ended; `put` connects to its successor
        if not watched(drift.lab):
            return ()
        return (*announce(self.line, drift, self.dead, fresh=self.fresh, writes=self._writes), *self.dead)
