"""Change a running lab: its objects, as kubectl does (apply, delete, scale), and its settings."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nslab.admission.change import applied_with_warnings, deleted, scaled
from nslab.admission.settings import changed_settings, with_plugins, with_settings
from nslab.app import controllers, rollouts, terminating
from nslab.app.get import get
from nslab.app.listener import QUIET
from nslab.app.ps import unscheduled
from nslab.app.transition import Transition
from nslab.compiler.written_by import WrittenBy
from nslab.controllers.controlled import unfinished
from nslab.controllers.events import controller_events
from nslab.dataclass import dataclass, replace
from nslab.lab.dump import documents
from nslab.lab.resources import key_of
from nslab.lab.selection import resource
from nslab.lab.termination import without_terminating
from nslab.linux import owned, signals
from nslab.linux.controller_events import keep_controller_events
from nslab.linux.netns import Namespaces, folder, private
from nslab.linux.processes.agents import Agents
from nslab.linux.stored_lab import StoredLab, stored_lab

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path
    from typing import Any, TypeAlias

    from nslab.api.pod_types import Pod
    from nslab.app.drift import Drift
    from nslab.app.listener import Listener
    from nslab.errors import FieldError
    from nslab.lab.types import Cni, Lab
    from nslab.linux.processes.agents import NotReady

    Decide: TypeAlias = Callable[[Lab], tuple[Lab, Sequence[str]]]


@dataclass(frozen=True, slots=True)
class Changed:
    """The effect of a change: `lines`, one for each object; `late`, the components that timed out or do not run.

    `failed`: what kube-proxies could not write of it (see nslab.app.transition.Made, also for `unready`).
    """

    lines: tuple[str, ...]
    drift: Drift
    not_ready: list[NotReady]
    late: tuple[tuple[str, str], ...]
    failed: Mapping[str, Mapping[str, str]]
    unready: tuple[str, ...] = ()
    stuck: tuple[str, ...] = ()
    """A line about each pod that no node admits, and that of `kubectl rollout status` of each rollout that is stuck."""


def apply(name: str, source: str | Path, listener: Listener = QUIET, *, wait: bool = False) -> Changed:
    """Create or change the objects of a file or a text.

    `wait`, here and in `scale`: until containers are ready, rollouts are done, and pods that go are gone.
    """

    doubts: list[FieldError] = []

    def decide(lab: Lab) -> tuple[Lab, Sequence[str]]:
        made, lines, warnings = applied_with_warnings(without_terminating(lab), source)
        doubts.extend(warnings)
        return made, lines

    done = _kubectl(name, "apply", decide, listener, wait=wait)
    for doubt in doubts:
        listener.warning(f"{doubt}")  # when all is done: who listens may be gone, as in `apply … 2>&1 | head -1`
    return done


def deletable(name: str, kind: str, namespace: str, selector: str = "") -> list[str]:
    """Return KIND/NAME of a kind's objects with these labels, without those that nslab makes again itself."""
    there = {key_of(one) for one in documents(stored_lab(name)).objects()}
    found = ((resource(one), one["metadata"]) for one in get(name, [kind], namespace, selector))
    keys = ((which, metadata.get("namespace", ""), metadata["name"]) for which, metadata in found)
    return [f"{key[0]}/{key[2]}" for key in keys if key in there]


def delete(
    name: str,
    what: Path | Sequence[str],
    namespace: str = "default",
    listener: Listener = QUIET,
    *,
    wait: bool = True,
    grace: int | None = None,
) -> Changed:
    """Delete objects, each KIND/NAME of a namespace, or those of a file.

    `wait`: until their pods are gone. `grace`: the seconds that these have, instead of what they say.
    """

    by_user: set[str] = set()

    def decide(lab: Lab) -> tuple[Lab, Sequence[str]]:
        acted = controllers.acted(lab)
        made, lines = deleted(acted, what, namespace)
        by_user.update(made.replaced[len(acted.replaced) :])
        return made, lines

    return _kubectl(name, "delete", decide, listener, wait=wait, grace=grace, by_user=by_user)


def scale(
    name: str,
    what: Sequence[str],
    replicas: int,
    namespace: str = "default",
    listener: Listener = QUIET,
    *,
    wait: bool = False,
) -> Changed:
    """Give controllers another number of replicas. `what`: as in `delete`, KIND/NAME… or KIND NAME…."""

    def decide(lab: Lab) -> tuple[Lab, Sequence[str]]:
        return scaled(without_terminating(lab), what, replicas, namespace)

    return _kubectl(name, "scale", decide, listener, wait=wait)


def configure(name: str, settings: Mapping[str, Any], listener: Listener = QUIET) -> Changed:
    """Change settings (see nslab.admission.settings), a line for each. What the old ones had left is removed."""

    def decide(lab: Lab) -> tuple[Lab, Sequence[str]]:
        return with_settings(without_terminating(lab), settings), changed_settings(lab, settings)

    return _change(name, "set", decide, listener)


def rewire(name: str, cni: Cni, listener: Listener = QUIET) -> Changed:
    """Have the pods wired by other CNI plugins."""
    return _change(name, "cni", lambda lab: (with_plugins(without_terminating(lab), cni), ()), listener)


def see_off(name: str) -> None:
    """Remove the pods that terminate, each when it has ended; returns when there are none left."""
    terminating.see_off(name, _sweep)


def control(name: str) -> None:
    """Act as the lab's controllers until they have nothing to do any more."""
    controllers.control(name, _act)


def _act(name: str) -> bool:
    """Have the controllers take their next step; whether there was one."""
    changed = False

    def decide(lab: Lab) -> tuple[Lab, Sequence[str]]:
        nonlocal changed
        made = controllers.acted(lab)
        changed = made != lab
        return made, ()

    _change(name, "controllers", decide, QUIET, leave=True, wait=False)
    if terminating.terminating(stored_lab(name)):
        terminating.leave(name)
    return changed


def _sweep(name: str) -> None:
    _change(name, "apply", lambda lab: (lab, ()), QUIET, leave=True, wait=False)


def _kubectl(
    name: str,
    verb: str,
    decide: Decide,
    listener: Listener,
    *,
    wait: bool,
    grace: int | None = None,
    by_user: Collection[str] = (),
) -> Changed:
    """A change that kubectl makes: pods that go terminate; they are waited for, or left to a process of their own."""
    ready = wait and verb != "delete"

    waiting: list[Pod] = []

    def begun(lab: Lab) -> tuple[Lab, Sequence[str]]:
        waiting.extend(lab.pending)
        made, lines = decide(lab)
        return controllers.first_step(made, lab), lines

    done = _change(name, verb, begun, listener, leave=True, wait=ready, grace=grace, by_user=by_user)
    if ready:
        if terminating.terminating(done.drift.lab) and unfinished(done.drift.lab):
            terminating.leave(name)  # a rollout may wait for their ends
        stuck = () if done.not_ready else rollouts.wait(done.drift.lab)
        done = replace(done, stuck=(*unscheduled(done.drift.lab, waiting), *stuck))
    going = terminating.terminating(stored_lab(name) if wait else done.drift.lab)
    if not going:
        return done
    if not wait:
        terminating.leave(name)
        return done
    try:
        terminating.see_off(name, _sweep, going)
    except BaseException:
        terminating.leave(name)
        raise
    return done


def _change(
    name: str,
    verb: str,
    decide: Decide,
    listener: Listener,
    *,
    leave: bool = False,
    wait: bool = True,
    grace: int | None = None,
    by_user: Collection[str] = (),
) -> Changed:
    """Under the lab's lock, read the lab, decide what it becomes, and change it.

    The nodes' kube-proxies write the rules that the API server sends them. A change that leaves no pod terminating
    concerns the whole lab: nslab writes the rules itself, as in `up`. `by_user`: pods that no controller deletes.
    """
    written_by = WrittenBy.COMPONENTS if leave else WrittenBy.NSLAB
    with (
        signals.blocked(),
        private(),
        owned.locked(name, verb, listener.busy),
        Namespaces() as spaces,
        Agents(name, folder(name)) as agents,
    ):
        was = stored_lab(name)
        lab, lines = decide(was)
        kept = (was, *StoredLab(folder(name)).before())
        made = Transition(
            lab, kept, spaces, agents, listener.progress,
            fresh=False, written_by=written_by, leave=leave, wait=wait, grace=grace,
        ).run()  # fmt: skip
        keep_controller_events(name, controller_events(was, made.drift.lab, by_user), time.time())
        controllers.begin(made.drift.lab)
        return Changed(tuple(lines), made.drift, made.not_ready, made.late, made.failed, made.unready if wait else ())
