"""What a lab changes by itself while it is looked at: pods become ready, and kube-proxies follow."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.errors import Refused
from nslab.linux.processes import status
from nslab.linux.stored_lab import changed_at, no_such_lab
from nslab.linux.timeouts import scaled
from nslab.linux.visits import is_changing

if TYPE_CHECKING:
    from nslab.linux.processes.control import ControlClient

_ANSWER = scaled(0.25)
"""Seconds that control may take to answer; one that is stopped does not."""


@dataclass(frozen=True, slots=True)
class Moment:
    """The versions of what is compared: two that are equal have nothing between them.

    `changed`: when the desired state was stored; `pods`: the pods' readiness and phases, as their nodes report them;
    `generation`: of the Services that kube-proxies follow; `followed`: whether all of them have.
    """

    changed: int
    pods: tuple[tuple[str, bool, str], ...]
    generation: int
    followed: bool


def moment(name: str, control: ControlClient) -> Moment:
    """The present moment of a running lab. UsageError if there is none."""
    changed = changed_at(name)
    if not changed:
        raise no_such_lab(name)
    seen = status.read_status(name)  # before control is asked: nodes report there before they write this
    pods = tuple((key, bool(pod["ready"]), str(pod.get("phase"))) for key, pod in sorted(seen.items()))
    generation, followed = 0, True
    with contextlib.suppress(Refused):  # without control, or one that stands still, nobody follows anything
        generation, followed = control.progress(_ANSWER)
    return Moment(changed, pods, generation, followed)


def steady(name: str, since: Moment, control: ControlClient) -> bool:
    """Whether nothing has changed since a moment at which nothing was under way."""
    return since.followed and moment(name, control) == since and not is_changing(name)
