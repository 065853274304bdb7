"""An exercise in repair: what its check.yaml breaks in a lab that has just come up."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from nslab.app.inside import command, find_pod
from nslab.errors import UsageError
from nslab.exercises.read import read_check
from nslab.lab.find import CHECK
from nslab.linux.netns import folder
from nslab.linux.processes.exec import communicate
from nslab.linux.timeouts import scaled

if TYPE_CHECKING:
    from nslab.exercises.types import Break
    from nslab.lab.types import Lab

SECONDS = scaled(30.0)


def break_lab(lab: Lab, goals: str) -> None:
    """Run what the goals' text breaks, in its order and silently. UsageError if that does not work.

    `lab` is up, under its lock, and its pods have addresses.
    """
    for number, one in enumerate(read_check(goals, CHECK, lab).breaks):
        if reason := _typed(lab, one):
            # The learner must not read the lines here, and the author finds them by their number.
            raise UsageError(f"{CHECK}: spec.breaks[{number}] does not work in {one.host}: {reason}")


def _typed(lab: Lab, one: Break) -> str:
    """Run the lines of one break as root in its host; why they failed, or nothing."""
    argv = ["sh", "-ec", one.run]
    pod = find_pod(lab.pods, one.host)
    # A container's root may not change its network; its node's may, and knows the namespace by the pod's name.
    where, argv = (pod.node, ["ip", "netns", "exec", one.host, *argv]) if pod else (one.host, argv)
    try:
        done = communicate(folder(lab.name), command(lab.name, where, None, argv)[0], "", SECONDS)
    except subprocess.TimeoutExpired:
        return f"it takes more than {SECONDS:g} s"
    return f"exit status {done.returncode}: {done.stderr.strip()[-200:]}" if done.returncode else ""
