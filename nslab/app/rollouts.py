"""Waiting for rollouts, which the process of the controllers carries out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nslab.app.get import live_objects
from nslab.controllers.controlled import min_ready, unfinished
from nslab.controllers.rollout import is_ordered
from nslab.errors import UsageError
from nslab.linux import signals
from nslab.linux.timeouts import scaled
from nslab.views.rollout_status import is_late, rollout_status

if TYPE_CHECKING:
    from nslab.lab.types import Lab

    Key = tuple[str, str, str]

STILL = scaled(10.0)
"""Seconds without progress after which nobody waits any longer, besides the controller's minReadySeconds."""
PAUSE = 0.1


def wait(lab: Lab) -> tuple[str, ...]:
    """Wait for the rollouts that have begun in a lab. Returns a line for each that makes no progress any more.

    Nobody waits for a StatefulSet whose next pod waits for a node.
    """
    waiting = {pod.owner for pod in lab.pending}
    begun = [one for one in unfinished(lab) if not (is_ordered(one) and one.owner_name in waiting)]
    left = {(one.kind, one.namespace, one.name): min_ready(one) for one in begun}
    seen: dict[Key, tuple[Any, float]] = {}
    stuck: dict[Key, str] = {}
    while left.keys() - stuck.keys():
        there, now = _controllers(lab.name), time.monotonic()
        for key, seconds in [*left.items()]:
            line, done = rollout_status(there[key]) if key in there else ("", True)
            if done:
                left.pop(key)
                stuck.pop(key, None)
                continue
            counts = {**there[key]["status"], "conditions": ()}
            if key not in seen or seen[key][0] != counts:
                seen[key] = counts, now
            if now > seen[key][1] + STILL + seconds or is_late(there[key]):
                stuck[key] = line
        with signals.allowed():
            time.sleep(PAUSE if left else 0)
    return tuple(stuck.values())


def _controllers(name: str) -> dict[Key, dict[str, Any]]:
    """What has a status in a lab, by kind, namespace and name."""
    try:
        there = live_objects(name)
    except UsageError:  # somebody took it away
        return {}
    return {(one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]): one for one in there}
