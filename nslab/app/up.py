"""Bring a lab up; repair a running one, or change it to match its file."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from nslab.app import controllers, rollouts
from nslab.app.down import release
from nslab.app.listener import QUIET
from nslab.app.ps import unscheduled
from nslab.app.reset import reset
from nslab.app.transition import Transition
from nslab.compiler.written_by import WrittenBy
from nslab.controllers.controlled import unfinished
from nslab.controllers.events import controller_events
from nslab.dataclass import dataclass, field, replace
from nslab.lab.cron_jobs import with_made_jobs
from nslab.lab.termination import without_terminating
from nslab.linux import owned, signals
from nslab.linux.controller_events import keep_controller_events
from nslab.linux.netns import Namespaces, folder, named, private
from nslab.linux.processes import procs
from nslab.linux.processes.agents import Agents
from nslab.linux.stored_lab import StoredLab, stored_lab

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nslab.app.drift import Drift
    from nslab.app.listener import Listener
    from nslab.lab.types import Lab
    from nslab.linux.processes.agents import NotReady
    from nslab.linux.processes.spawner import Interpreter
    from nslab.objects.unmanaged import Unmanaged


@dataclass(frozen=True, slots=True)
class Up:
    """The effect of `up`. `fresh`: the lab did not exist before; `was`: what ran; `seconds`: how long it took.

    `failed`: what kube-proxies could not write; `unready`: pods that were not ready before (see
    nslab.app.transition.Made). `refused`: the unmanaged objects that `up` was to remove and that still exist, each with
    the reason.
    """

    drift: Drift
    fresh: bool
    seconds: float
    not_ready: list[NotReady]
    failed: Mapping[str, Mapping[str, str]]
    refused: dict[Unmanaged, str] = field(default_factory=dict)
    was: Lab | None = None
    unready: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    """A line about each pod that no node admits, and that of `kubectl rollout status` of each rollout that is stuck."""


def up(
    lab: Lab,
    listener: Listener = QUIET,
    goals: str | None = None,
    unwanted: Sequence[Unmanaged] = (),
    early: Interpreter | None = None,
) -> Up:
    """Bring a lab up as `begin` does, and wait for the rollouts that this starts."""
    started = time.monotonic()
    done = begin(lab, listener, goals, unwanted, early)
    stuck: tuple[str, ...] = ()
    if unfinished(done.drift.lab) and not done.not_ready:
        stuck = rollouts.wait(done.drift.lab)
        done = replace(done, drift=replace(done.drift, lab=stored_lab(lab.name)), seconds=time.monotonic() - started)
    return replace(done, stuck=(*unscheduled(done.drift.lab), *stuck))


def begin(
    lab: Lab,
    listener: Listener = QUIET,
    goals: str | None = None,
    unwanted: Sequence[Unmanaged] = (),
    early: Interpreter | None = None,
) -> Up:
    """Bring a lab up, repair it, or change it to match its file. Refused if the kernel refuses a step.

    After a failure the inverse plan restores a running lab; a fresh one is removed as a whole, as `down` does, which
    needs no plan and takes half as long.

    `goals`: the text of the check file to store with the lab; "": there is none; None: keep the stored one.
    `unwanted`: unmanaged objects in its namespaces, to be removed first. `early`: an interpreter for its processes that
    the caller has started already.
    """
    started = time.monotonic()
    with (
        signals.blocked(),
        private(),
        owned.locked(lab.name, "up", listener.busy),
        Namespaces() as spaces,
        Agents(lab.name, folder(lab.name), early) as agents,
        contextlib.ExitStack() as undo,
    ):
        fresh = not owned.exists(lab.name)
        if fresh:
            undo.callback(release, lab.name)
        undo.callback(spaces.home)
        owned.claim(lab.name)
        agents.prefork()  # a process starts while we compile
        if not fresh:
            procs.end(owned.impostors(lab.name))
        refused = reset(spaces, unwanted)
        kept = StoredLab(folder(lab.name)).all()
        if not (fresh or kept or named(lab.name)):  # an `up` was killed at its start
            undo.callback(release, lab.name)
        was = kept[0] if kept and not fresh else None
        wanted = without_terminating(lab)
        wanted = controllers.first_step(with_made_jobs(wanted, was) if was else wanted, was)
        made = Transition(
            wanted, kept, spaces, agents, listener.progress, fresh=fresh, written_by=WrittenBy.NSLAB
        ).run()
        if goals is not None:
            StoredLab(folder(lab.name)).keep_goals(goals)
        undo.pop_all()
        idle = bool(was and controllers.are_missing(was))
        happened = controller_events(was, made.drift.lab)
        keep_controller_events(lab.name, happened, time.time())
        controllers.begin(made.drift.lab)
        left = {one: why for one, why in refused.items() if one in made.drift.others}
        drift, seconds = replace(made.drift, idle=idle), time.monotonic() - started
        return Up(drift, fresh, seconds, made.not_ready, made.failed, left, was, made.unready)
