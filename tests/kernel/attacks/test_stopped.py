"""Processes of a lab that somebody has stopped: told by `diff`, and let go on by `up`."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import nslab, pids

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.pytest_plugin.running import RunningLab

SAID = {
    "node1 node": "node1: nslab-node process",
    "control control": "control: nslab-control process",
    "node1 kube-proxy": "node1: kube-proxy process",
    "node2 tunnel": "node2: process behind tunl0",
    "pod-a pause": "pod-a: pause process",
    "pod-b container/app": "pod-b: container app",
}


@pytest.mark.parametrize("roles", [*((role,) for role in SAID), tuple(SAID)], ids=lambda roles: roles[-1])
def test_what_stands_still_is_told_and_goes_on(make_lab: Callable[..., RunningLab], roles: tuple[str, ...]) -> None:
    lab = make_lab("calico-two-node")
    there = pids(lab.name)
    for role in roles:
        os.kill(there[role], signal.SIGSTOP)
    wanted = [f"{SAID[role]} is stopped (process {there[role]})" for role in roles]
    done = nslab("diff", lab.name)
    assert (done.returncode, sorted(done.stdout.splitlines()), done.stderr) == (1, sorted(wanted), "")
    shown = nslab("ps", lab.name)
    tellers = [role for role in roles if role in ("node1 node", "control control")]
    assert (shown.returncode, shown.stderr.count("is stopped")) == (0, len(tellers)), shown.stderr
    done = nslab("up", lab.name)
    assert done.returncode == 0, done.stderr
    assert all(line in done.stdout for line in wanted)
    assert lab.diff() == []
    assert pids(lab.name) == there
