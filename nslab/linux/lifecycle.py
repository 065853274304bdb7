"""The life of a lab: up, difference, down. What is decided is decided elsewhere; here it is read, done and kept."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from nslab import engine
from nslab.compiler import compile_lab
from nslab.compiler.addresses import adopted, place
from nslab.compiler.bare import by_hand
from nslab.compiler.services import resolve, watched
from nslab.errors import NslabError, UsageError
from nslab.lab.dump import dump
from nslab.lab.find import CHECK
from nslab.lab.load import load
from nslab.lab.status import merge_status
from nslab.lab.types import Plugin, ProxyMode
from nslab.linux import owned, status, stop
from nslab.linux.agents import Agents
from nslab.linux.cni import Plugins, find_programs
from nslab.linux.control import Absent
from nslab.linux.control import Control as Line
from nslab.linux.host import read_host
from nslab.linux.kernel import LinuxKernel
from nslab.linux.netns import Namespaces, folder, labs, named
from nslab.linux.observe import observe
from nslab.linux.patience import patient
from nslab.net.needs import demand
from nslab.net.objects import (
    Address,
    Attachment,
    Blackhole,
    Control,
    KubeProxy,
    Neighbour,
    Netns,
    NodeAgent,
    Route,
    Sandbox,
    TunnelAgent,
    Workload,
)
from nslab.net.shell import command
from nslab.net.steps import Add, Remove, diff

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from nslab.lab.types import Lab
    from nslab.linux.agents import NotReady
    from nslab.net.needs import Host
    from nslab.net.objects import Object, State
    from nslab.net.steps import Plan, Transaction

READY_SECONDS = patient(10.0)


@dataclass(frozen=True, slots=True)
class Difference:
    """What is wished, what there is of it, and the steps from here to there."""

    lab: Lab
    host: Host
    want: State
    plan: Plan
    strangers: dict[str, list[str]] = field(default_factory=dict)


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


def wished(name: str) -> Lab:
    """The lab as it was last brought up; UsageError if there is none of that name."""
    lab = _kept(folder(name) / "lab.yaml") if name in labs() else None
    if lab is None:
        raise UsageError(f"there is no running lab {name[:60]!r}; `nslab ps` lists those that run")
    return lab


def difference(name: str) -> Difference:
    """What there is of a running lab against what was wished."""
    lab = wished(name)
    with Namespaces() as spaces:
        return _difference(spaces, _as_seen(lab), (lab, *_Files(folder(name)).before()))


def up(lab: Lab, busy: Callable[[str], None], progress: Callable[[int, int], None], goals: str | None = None) -> Up:
    """Bring a lab up, or heal it, or change it to what the file now says. Told `progress`: steps done, steps in all.

    `goals`: the text of its check file, which is kept with it; "": it has none; None: what is kept stays.
    """
    started = time.monotonic()
    with (
        stop.deferred(),
        owned.locked(lab.name, "up", busy),
        Namespaces() as spaces,
        Agents(lab.name, folder(lab.name)) as agents,
    ):
        fresh = not owned.exists(lab.name)
        try:
            owned.claim(lab.name)
            agents.warm()  # a process starts while we think
            kept = _Files(folder(lab.name)).wishes()
            todo, not_ready, _ = _change(lab, kept, spaces, agents, progress, fresh=fresh, rules=True)
            if goals is not None:
                _Files(folder(lab.name)).keep_goals(goals)
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
        owned.locked(name, verb, busy),
        Namespaces() as spaces,
        Agents(name, folder(name)) as agents,
    ):
        was = wished(name)
        lab, lines = decide(was)
        kept = (was, *_Files(folder(name)).before())
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
    files = _Files(folder(lab.name))
    with Line(lab.name) as line:
        if rules:
            line.hold()
        new = place(merge_status(lab, kept[0]) if kept else lab)
        todo = _difference(spaces, _as_seen(new), kept, rules=rules)
        plugins = Plugins(folder(lab.name), todo.host.iptables)
        kernel = LinuxKernel(spaces, agents, todo.host.iptables, plugins)
        names = {step.obj.ns for step in todo.plan if isinstance(step, Remove) and isinstance(step.obj, Netns)}
        leaving = {number: ns for number, ns in owned.inodes(lab.name).items() if ns in names}
        files.begin(todo.lab)
        try:
            if kept and not rules:
                with contextlib.suppress(Absent):  # the plan starts it, and then it is told
                    line.put(resolve(_without_newcomers(todo.lab, kept[0])))  # pods that go are sent nothing any more
            first, todo = _wired(spaces, kernel, plugins, todo, kept, rules=rules, undo=not fresh)
            files.again(todo.lab)
            try:
                not_ready = _do(kernel, agents, todo.plan, progress, undo=not fresh)
            except BaseException:
                if not fresh:
                    engine.take_back(kernel, first)
                raise
            todo = replace(todo, plan=(*first, *todo.plan))
            if any(isinstance(step.obj, Control) for step in todo.plan):
                line.close()  # who was asked to hold is no more; the new one is dialled anew
            late = line.put(resolve(todo.lab), expect=_must_follow(todo, fresh)) if watched(todo.lab) else ()
        except BaseException:
            if kept:
                # What the kernel took away together with something is no step of the plan, nor of its inverse.
                engine.attempt(kernel, _difference(spaces, kept[0], (todo.lab, *kept), rules=rules).plan)
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
        return first, _difference(spaces, lab, (todo.lab, *kept), rules=rules)
    except BaseException:
        if undo:
            engine.take_back(kernel, first)
        raise


def _as_seen(lab: Lab) -> Lab:
    """The lab with what its nodes found of the pods' readiness; a pod that nobody has seen yet counts as ready."""
    seen = status.read_status(lab.name)
    ready = {name: bool(pod["ready"]) for name, pod in seen.items()}
    return replace(
        lab, pods=tuple(replace(pod, ready=ready.get(f"{pod.namespace}/{pod.name}", True)) for pod in lab.pods)
    )


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
    with stop.deferred(), owned.locked(name, "down", busy):
        return _released(name)


def _released(name: str) -> owned.Gone:
    """Take away all that there is of a lab. Its CNI plugins are told first, and keep nothing by what they say."""
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


def _difference(spaces: Namespaces, lab: Lab, kept: tuple[Lab, ...], *, rules: bool = True) -> Difference:
    host = replace(read_host(spaces), programs=find_programs(lab))
    demand(str(lab.proxy_mode), host)
    want = compile_lab(lab, host, rules=rules)
    if not named(lab.name):
        # Names come first: what no name leads to is not there, so it need not be looked for.
        return Difference(lab, host, want, diff((), want))
    # What was made for an older wish goes before what is only wished; no one can see what a process was started as.
    older = [compile_lab(old, host, rules=rules) for old in kept if old != lab]
    known = tuple({obj.key: obj for state in (want, *older) for obj in state}.values())
    seen = observe(spaces, lab.name, known, host.iptables, Plugins(folder(lab.name), host.iptables))
    ours, his = by_hand(lab, seen.have, known)
    for obj in his:
        line = command(Add(obj)).replace(f" -n {obj.ns}", "", 1)
        seen.strangers.setdefault(obj.ns, []).append(line)
    have = (*_of_ours(lab, known, ours), *_running(lab.name, known))
    return Difference(lab, host, want, diff(have, want), _strangers(lab, seen.strangers))


def _strangers(lab: Lab, seen: dict[str, list[str]]) -> dict[str, list[str]]:
    """What nobody of the lab made. The chains of the CNI project's plugins begin with CNI-."""
    if lab.plugin is not Plugin.EXEC:
        return seen
    told = {ns: [line for line in lines if not re.search("-[Aj] CNI-", line)] for ns, lines in seen.items()}
    return {ns: lines for ns, lines in told.items() if lines}


def _of_ours(lab: Lab, known: State, have: Sequence[Object]) -> list[Object]:
    """Of what is there, what nslab sees to. Routes and addresses that it does not know of may be CNI plugins' own."""
    if lab.plugin is not Plugin.EXEC:
        return list(have)
    keys = {obj.key for obj in known}
    return [obj for obj in have if obj.key in keys or not isinstance(obj, Address | Route | Blackhole | Neighbour)]


def _running(name: str, known: State) -> Iterator[_Running]:
    """The processes of a state that run, found by the marks that they bear; and those that their nodes see to."""
    marks = {(record.ns, record.role) for record in owned.processes(name) if record.state not in "ZX"}
    marks |= status.kept(name, marks)
    for obj in known:
        if isinstance(obj, _RUNNING) and (obj.ns, obj.key[2]) in marks:
            yield obj


_Running: TypeAlias = NodeAgent | Control | TunnelAgent | KubeProxy | Sandbox | Workload
_RUNNING = (NodeAgent, Control, TunnelAgent, KubeProxy, Sandbox, Workload)


@dataclass(frozen=True, slots=True)
class _Files:
    """The wish as it is kept in the lab's folder: while it changes, the one before it, too."""

    folder: Path

    def wishes(self) -> tuple[Lab, ...]:
        """What was wished, the newest first; two, if a change was cut short."""
        newest = _kept(self.folder / "lab.yaml")
        return (newest, *self.before()) if newest else self.before()

    def before(self) -> tuple[Lab, ...]:
        """What was wished before a change that was cut short."""
        old = _kept(self.folder / "before.yaml")
        return (old,) if old else ()

    def begin(self, lab: Lab) -> None:
        """Keep a new wish beside the old."""
        new = self.folder / "new.yaml"
        new.write_text(dump(lab))
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "lab.yaml").replace(self.folder / "before.yaml")
        new.replace(self.folder / "lab.yaml")

    def again(self, lab: Lab) -> None:
        """Keep the new wish as it turned out."""
        new = self.folder / "new.yaml"
        new.write_text(dump(lab))
        new.replace(self.folder / "lab.yaml")

    def keep_goals(self, text: str) -> None:
        """Keep the goals beside the wish; none: those of an earlier wish are none of this one's."""
        if text:
            (self.folder / CHECK).write_text(text, encoding="utf-8")
        else:
            (self.folder / CHECK).unlink(missing_ok=True)

    def done(self) -> None:
        """The change is made: the old wish is history."""
        (self.folder / "before.yaml").unlink(missing_ok=True)

    def back(self) -> None:
        """The change was taken back."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "before.yaml").replace(self.folder / "lab.yaml")


def _kept(file: Path) -> Lab | None:
    return load(file) if file.exists() else None
