"""The life of a lab: up, difference, down. What is decided is decided elsewhere; here it is read, done and kept."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from nslab import engine
from nslab.compiler.addresses import adopted, place
from nslab.compiler.services import resolve, watched
from nslab.dataclass import dataclass, replace
from nslab.errors import NslabError
from nslab.lab.status import merge_status
from nslab.lab.types import ProxyMode
from nslab.linux import owned, places, stop
from nslab.linux.cni.plugins import Plugins
from nslab.linux.difference import as_seen, compare, standing
from nslab.linux.kernel import LinuxKernel
from nslab.linux.netns import Namespaces, folder, private
from nslab.linux.observe.host import read_host
from nslab.linux.patience import patient
from nslab.linux.processes import procs
from nslab.linux.processes.agents import Agents
from nslab.linux.processes.control import Absent
from nslab.linux.processes.control import Control as Line
from nslab.linux.processes.stopped import resume
from nslab.linux.wishes import Wishes, wished
from nslab.objects.attachment import Attachment
from nslab.objects.namespaces import Netns
from nslab.objects.plan import Remove
from nslab.objects.process import Control

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nslab.lab.types import Lab
    from nslab.linux.difference import Difference
    from nslab.linux.processes.agents import NotReady
    from nslab.objects.plan import Plan, Transaction

READY_SECONDS = patient(10.0)


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change of a running lab did: what became of each object, and which kube-proxies were late to follow."""

    lines: tuple[str, ...]
    difference: Difference
    not_ready: list[NotReady]
    late: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` did. `fresh`: there was nothing of the lab before."""

    difference: Difference
    fresh: bool
    seconds: float
    not_ready: list[NotReady]


def difference(name: str) -> Difference:
    """What there is of a running lab against what was wished."""
    lab = wished(name)
    with Namespaces() as spaces:
        return compare(spaces, as_seen(lab), (lab, *Wishes(folder(name)).before()))


def up(lab: Lab, busy: Callable[[str], None], progress: Callable[[int, int], None], goals: str | None = None) -> Up:
    """Bring a lab up, or heal it, or change it to what the file now says. Told `progress`: steps done, steps in all.

    `goals`: the text of its check file, which is kept with it; "": it has none; None: what is kept stays.
    """
    started = time.monotonic()
    with (
        stop.deferred(),
        private(),
        owned.locked(lab.name, "up", busy),
        Namespaces() as spaces,
        Agents(lab.name, folder(lab.name)) as agents,
    ):
        fresh = not owned.exists(lab.name)
        try:
            owned.claim(lab.name)
            agents.warm()  # a process starts while we think
            if not fresh:
                procs.end(owned.impostors(lab.name))
            kept = Wishes(folder(lab.name)).all()
            todo, not_ready, _ = _change(lab, kept, spaces, agents, progress, fresh=fresh, rules=True)
            if goals is not None:
                Wishes(folder(lab.name)).keep_goals(goals)
        except BaseException:
            spaces.home()
            if fresh:
                _released(lab.name)
            raise
        return Up(todo, fresh, time.monotonic() - started, not_ready)


def change(
    name: str,
    verb: str,
    decide: Callable[[Lab], tuple[Lab, Sequence[str]]],
    busy: Callable[[str], None],
    progress: Callable[[int, int], None],
    *,
    rules: bool = False,
) -> Changed:
    """Change what is wished of a running lab. The nodes' kube-proxies write the rules, told by the lab's control.

    With `rules`, they are written here, as by `up`.
    """
    with (
        stop.deferred(),
        private(),
        owned.locked(name, verb, busy),
        Namespaces() as spaces,
        Agents(name, folder(name)) as agents,
    ):
        was = wished(name)
        lab, lines = decide(was)
        kept = (was, *Wishes(folder(name)).before())
        todo, not_ready, late = _change(lab, kept, spaces, agents, progress, fresh=False, rules=rules)
        return Changed(tuple(lines), todo, not_ready, late)


def _change(
    lab: Lab,
    kept: tuple[Lab, ...],
    spaces: Namespaces,
    agents: Agents,
    progress: Callable[[int, int], None],
    *,
    fresh: bool,
    rules: bool,
) -> tuple[Difference, list[NotReady], tuple[str, ...]]:
    """From what is there to what is wished now; or, if that cannot be, back to what was wished before (`kept`).

    Of a `fresh` lab nothing is taken back here: all of it goes at once, which takes half as long. With `rules`, what
    kube-proxies write is written here, while they hold still; without, they are told.
    """
    files = Wishes(folder(lab.name))
    resumed = resume(owned.processes(lab.name)) if kept else []
    with Line(lab.name) as line, contextlib.ExitStack() as held:
        if rules:
            line.hold()
        new = place(merge_status(lab, kept[0]) if kept else lab)
        todo = compare(spaces, as_seen(new), kept, rules=rules)
        plugins = Plugins(folder(lab.name), todo.host.iptables)
        kernel = LinuxKernel(spaces, agents, todo.host.iptables, plugins)
        names = {step.obj.ns for step in todo.plan if isinstance(step, Remove) and isinstance(step.obj, Netns)}
        leaving = held.enter_context(owned.leaving(names))
        files.begin(todo.lab)
        try:
            if kept and not rules:
                with contextlib.suppress(Absent):  # the plan starts it, and then it is told
                    line.put(resolve(_without_newcomers(todo.lab, kept[0])))  # pods that go are sent nothing any more
            first, todo = _wired(spaces, kernel, plugins, todo, kept, rules=rules, undo=not fresh)
            if first:
                files.again(todo.lab)
            try:
                not_ready = _do(kernel, agents, todo.plan, progress, undo=not fresh)
            except BaseException:
                if not fresh:
                    engine.take_back(kernel, first)
                raise
            todo = replace(todo, plan=(*first, *todo.plan), stopped=standing(todo.want, resumed))
            if any(isinstance(step.obj, Control) for step in todo.plan):
                line.close()  # who was asked to hold is no more; the new one is dialled anew
            late = line.put(resolve(todo.lab), expect=_must_follow(todo, fresh)) if watched(todo.lab) else ()
        except BaseException:
            if kept:
                # What the kernel took away together with something is no step of the plan, nor of its inverse.
                engine.attempt(kernel, compare(spaces, kept[0], (todo.lab, *kept), rules=rules).plan)
                with contextlib.suppress(NslabError):
                    line.put(resolve(kept[0]))
            files.back()
            raise
        files.done()
        spaces.home()
        owned.vacate(leaving)
        return todo, not_ready, late


def _wired(
    spaces: Namespaces,
    kernel: LinuxKernel,
    plugins: Plugins,
    todo: Difference,
    kept: tuple[Lab, ...],
    *,
    rules: bool,
    undo: bool,
) -> tuple[Plan, Difference]:
    """Do a plan as far as CNI plugins wire pods, who have the last word on addresses; and what is to be done then.

    Endpoints, names and probes go by a pod's address: where a plugin gave another, they are planned anew.
    """
    wired = [place for place, step in enumerate(todo.plan) if isinstance(step.obj, Attachment)]
    if not wired:
        return (), todo
    first, rest = todo.plan[: wired[-1] + 1], todo.plan[wired[-1] + 1 :]
    engine.apply(kernel, first, lambda _: stop.check(), undo=undo)
    try:
        lab = adopted(todo.lab, {kept.obj.ns: kept.obj.address for kept in plugins.kept()})
        if lab == todo.lab:
            return first, replace(todo, plan=rest)
        return first, compare(spaces, lab, (todo.lab, *kept), rules=rules)
    except BaseException:
        if undo:
            engine.take_back(kernel, first)
        raise


def _without_newcomers(lab: Lab, before: Lab) -> Lab:
    """The lab with those pods alone that were there before, at the same address."""
    there = {(pod.namespace, pod.name, pod.assigned) for pod in before.pods}
    return replace(lab, pods=tuple(pod for pod in lab.pods if (pod.namespace, pod.name, pod.assigned) in there))


def _must_follow(todo: Difference, fresh: bool) -> list[str]:
    """The nodes whose kube-proxies must have followed before all is said and done.

    What they would write at first is written already; but in userspace mode they carry the traffic themselves.
    """
    if fresh and todo.lab.proxy_mode is not ProxyMode.USERSPACE:
        return []
    return [node.name for node in todo.lab.nodes] if todo.lab.proxy_mode is not ProxyMode.NONE else []


def down(name: str, busy: Callable[[str], None]) -> owned.Gone:
    """Take a lab away, whatever there is of it."""
    with stop.deferred(), private(), owned.locked(name, "down", busy):
        return _released(name)


def _released(name: str) -> owned.Gone:
    """Take away all that there is of a lab. Its CNI plugins are told first, and keep nothing by what they say."""
    places.uncover(name)
    places.check(name)
    refused: list[str] = []
    if Plugins(folder(name)).kept():
        try:
            with Namespaces() as spaces:
                refused = Plugins(folder(name), read_host(spaces).iptables).release()
        except (NslabError, OSError) as error:
            refused = [str(error)]
    return replace(owned.release(name), refused=tuple(refused))


def _do(
    kernel: LinuxKernel, agents: Agents, plan: Plan, progress: Callable[[int, int], None], *, undo: bool
) -> list[NotReady]:
    """Do a plan and see the containers answer; those that do not. A refusal or a signal ends it."""
    total, done = len(plan), 0

    def before(transaction: Transaction) -> None:
        nonlocal done
        progress(done, total)
        done += len(transaction.steps)
        stop.check()

    engine.apply(kernel, plan, before, undo=undo)
    try:
        kernel.settle()
        progress(total, total)
        with stop.heeded():
            return agents.wait_ready(READY_SECONDS)
    except BaseException:
        if undo:
            engine.take_back(kernel, plan)
        raise
