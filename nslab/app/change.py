"""Change a running lab: its objects, as kubectl does (apply, delete, scale), and its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.app.listener import QUIET
from nslab.app.transition import Transition
from nslab.compiler.written_by import WrittenBy
from nslab.dataclass import dataclass
from nslab.lab.change import applied_with_warnings, deleted, scaled
from nslab.lab.settings import with_plugins, with_settings
from nslab.linux import owned, signals
from nslab.linux.netns import Namespaces, folder, private
from nslab.linux.processes.agents import Agents
from nslab.linux.stored_lab import StoredLab, stored_lab

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from nslab.app.drift import Drift
    from nslab.app.listener import Listener
    from nslab.lab.types import Cni, Lab
    from nslab.linux.processes.agents import NotReady


@dataclass(frozen=True, slots=True)
class Changed:
    """The effect of a change: `lines`, one for each object; `late`, the nodes whose kube-proxies timed out.

    `failed`: what kube-proxies could not write of it (see nslab.app.transition.Made).
    """

    lines: tuple[str, ...]
    drift: Drift
    not_ready: list[NotReady]
    late: tuple[str, ...]
    failed: Mapping[str, Mapping[str, str]]


def apply(name: str, source: str | Path, listener: Listener = QUIET) -> Changed:
    """Create or update the objects of a file or of a text."""

    def decide(lab: Lab) -> tuple[Lab, Sequence[str]]:
        made, lines, warnings = applied_with_warnings(lab, source)
        for warning in warnings:
            listener.warning(f"{warning}")
        return made, lines

    return _change(name, "apply", decide, listener)


def delete(name: str, what: Path | Sequence[str], namespace: str = "default", listener: Listener = QUIET) -> Changed:
    """Delete objects: each `KIND/NAME` in a namespace, or all objects of a file."""
    return _change(name, "delete", lambda lab: deleted(lab, what, namespace), listener)


def scale(name: str, deployment: str, replicas: int, namespace: str = "default", listener: Listener = QUIET) -> Changed:
    """Set the number of replicas of a Deployment."""
    return _change(name, "scale", lambda lab: scaled(lab, deployment, replicas, namespace), listener)


def configure(name: str, settings: Mapping[str, Any], listener: Listener = QUIET) -> Changed:
    """Change settings (see nslab.lab.settings) and remove everything that only the old settings need."""
    return _change(name, "set", lambda lab: (with_settings(lab, settings), ()), listener, WrittenBy.NSLAB)


def rewire(name: str, cni: Cni, listener: Listener = QUIET) -> Changed:
    """Attach the pods with other CNI plugins."""
    return _change(name, "cni", lambda lab: (with_plugins(lab, cni), ()), listener, WrittenBy.NSLAB)


def _change(
    name: str,
    verb: str,
    decide: Callable[[Lab], tuple[Lab, Sequence[str]]],
    listener: Listener,
    written_by: WrittenBy = WrittenBy.COMPONENTS,
) -> Changed:
    """Under the lab's lock, read the lab, decide what it becomes, and change it.

    By default the nodes' kube-proxies write the rules, as the lab's control tells them; `WrittenBy.NSLAB` has nslab
    write them, as in `up`.
    """
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
        made = Transition(lab, kept, spaces, agents, listener.progress, fresh=False, written_by=written_by).run()
        return Changed(tuple(lines), made.drift, made.not_ready, made.late, made.failed)
