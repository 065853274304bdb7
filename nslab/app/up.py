"""Bringing a lab up; healing one that runs, or changing it to what its file now says."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from nslab.app.down import release
from nslab.app.listener import QUIET
from nslab.app.transition import Transition
from nslab.compiler.written_by import WrittenBy
from nslab.dataclass import dataclass
from nslab.linux import owned, signals
from nslab.linux.netns import Namespaces, folder, named, private
from nslab.linux.processes import procs
from nslab.linux.processes.agents import Agents
from nslab.linux.stored_lab import StoredLab

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.app.drift import Drift
    from nslab.app.listener import Listener
    from nslab.lab.types import Lab
    from nslab.linux.processes.agents import NotReady


@dataclass(frozen=True, slots=True)
class Up:
    """What `up` did. `fresh`: there was nothing of the lab before; `seconds`: how long it took.

    `failed`: what kube-proxies could not write (see nslab.app.transition.Made).
    """

    drift: Drift
    fresh: bool
    seconds: float
    not_ready: list[NotReady]
    failed: Mapping[str, Mapping[str, str]]


def up(lab: Lab, listener: Listener = QUIET, goals: str | None = None) -> Up:
    """Bring a lab up, or heal it, or change it to what the file now says. Refused if the kernel refuses a step.

    If it fails, a running lab is as it was, by the inverse plan; a fresh one is taken away whole, as by `down`: that
    needs no plan, and takes half as long.

    `goals`: the text of its check file, which is kept with it; "": it has none; None: what is kept stays.
    """
    started = time.monotonic()
    with (
        signals.blocked(),
        private(),
        owned.locked(lab.name, "up", listener.busy),
        Namespaces() as spaces,
        Agents(lab.name, folder(lab.name)) as agents,
        contextlib.ExitStack() as undo,
    ):
        fresh = not owned.exists(lab.name)
        if fresh:
            undo.callback(release, lab.name)
        undo.callback(spaces.home)
        owned.claim(lab.name)
        agents.prefork()  # a process starts while we think
        if not fresh:
            procs.end(owned.impostors(lab.name))
        kept = StoredLab(folder(lab.name)).all()
        if not (fresh or kept or named(lab.name)):  # an `up` was killed before it had begun
            undo.callback(release, lab.name)
        made = Transition(lab, kept, spaces, agents, listener.progress, fresh=fresh, written_by=WrittenBy.NSLAB).run()
        if goals is not None:
            StoredLab(folder(lab.name)).keep_goals(goals)
        undo.pop_all()
        return Up(made.drift, fresh, time.monotonic() - started, made.not_ready, made.failed)
