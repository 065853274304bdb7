"""A plan has several readings: run, printed, taken back, made of a difference. The kernel ends up the same.

The kernel is asked with everybody's tools (see `dumps`); labs are built one after the other under one name, since
link-layer addresses are derived from it.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from dumps import NETWORKS, different, everything, named, output, real, seen, state_of

from nslab.engine import apply
from nslab.objects.container import Workload
from nslab.objects.namespaces import Netns
from nslab.objects.plan import diff, invert
from nslab.objects.process import Process
from nslab.objects.script import script
from tests.slow import SLOW

if TYPE_CHECKING:
    from nslab.objects.plan import Plan

LAB = f"plans{os.getpid()}"
EACH = NETWORKS if SLOW else ("kubenet", "IPIPCrossSubnet", "VXLAN")
"""A bridge with plugins' routes, routes without a tunnel, and a tunnel; that of IPIP is in other tests."""
CHANGES = [(a, b) for by in (1, 3) for a, b in zip(NETWORKS, NETWORKS[by:] + NETWORKS[:by], strict=True)]
TRIED = CHANGES if SLOW else CHANGES[: len(NETWORKS)]
"""From each to the next; with NSLAB_SLOW set, from each to another, too."""


def executed(*plans: Plan) -> list[str]:
    """What there is after the executor has done plans."""
    with real(LAB) as kernel:
        for plan in plans:
            apply(kernel, plan)
        return everything(LAB)


@cache
def fresh(network: str) -> list[str]:
    """What there is of a lab that has just been brought up."""
    return executed(diff((), state_of(network, LAB)))


def scripted(plan: Plan) -> list[str]:
    """What there is after bash has done a plan's script."""
    try:
        typed(plan)
        return everything(LAB)
    finally:
        swept()


def typed(plan: Plan) -> None:
    """Let bash do a plan's script."""
    text = script(plan, "A lab of the tests.", f"nslab.{LAB}.")
    environment = {**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(["bash"], input=text, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def swept() -> None:
    """Take away what a script has made, in the words that it says itself."""
    head = script((), "", f"nslab.{LAB}.").splitlines()
    loop = "\n".join(line.removeprefix("#") for line in head if line.startswith("#   "))
    subprocess.run(["bash"], input=loop, text=True, check=True)
    assert named(LAB) == []


@pytest.mark.parametrize("network", EACH)
def test_a_script_makes_what_the_executor_makes(network: str) -> None:
    plan = diff((), state_of(network, LAB))
    assert different(scripted(plan), fresh(network)) == []


def test_a_script_makes_the_table_of_nftables_and_takes_it_away() -> None:
    want, without = (state_of("None", LAB, mode=mode) for mode in ("nftables", "none"))

    def table() -> list[str]:
        printed = output("ip", "netns", "exec", f"nslab.{LAB}.node1", "nft", "list", "ruleset", "ip")
        return re.sub(r"packets \d+ bytes \d+", "", printed).splitlines()

    with real(LAB) as kernel:
        apply(kernel, diff((), without))
        before = table()
        apply(kernel, diff(without, want))
        executed = table()
    assert any("10.103.9.116" in line for line in executed)
    try:
        typed(diff((), want))
        assert table() == executed
        typed(diff(want, without))
        assert table() == before
    finally:
        swept()


@pytest.mark.parametrize(("before", "after"), TRIED)
def test_a_changed_lab_is_as_a_fresh_one(before: str, after: str) -> None:
    have, want = state_of(before, LAB), state_of(after, LAB)
    assert different(executed(diff((), have), diff(have, want)), fresh(after)) == []


def test_the_script_of_a_change_changes_the_same() -> None:
    have, want = state_of("VXLAN", LAB), state_of("IPIP", LAB)
    try:
        typed(diff((), have))
        typed(diff(have, want))
        assert different(everything(LAB), fresh("IPIP")) == []
    finally:
        swept()


@pytest.mark.parametrize("network", NETWORKS)
def test_a_plan_taken_back_leaves_nothing(network: str) -> None:
    plan = diff((), state_of(network, LAB))
    namespaces = [step for step in plan if isinstance(step.obj, Netns)]
    inside = tuple(step for step in plan if not isinstance(step.obj, Netns))
    with real(LAB) as kernel:
        apply(kernel, tuple(namespaces))
        before = seen(LAB, state_of(network, LAB))
        apply(kernel, inside)
        apply(kernel, invert(inside))
        assert seen(LAB, state_of(network, LAB)) == before
        apply(kernel, invert(tuple(namespaces)))
        assert named(LAB) == []


@pytest.mark.parametrize("network", NETWORKS)
def test_there_is_nothing_left_to_do(network: str) -> None:
    want = state_of(network, LAB)
    assert diff(want, want) == ()


@pytest.mark.parametrize("network", EACH)
def test_a_pod_less_and_a_pod_more(network: str) -> None:
    whole, less = state_of(network, LAB), state_of(network, LAB, without="pod-b")
    leave, come = diff(whole, less), diff(less, whole)
    assert [step.obj.ns for step in leave if isinstance(step.obj, Netns)] == [f"nslab.{LAB}.pod-b"]
    assert different(executed(diff((), whole), leave), executed(diff((), less))) == []
    assert different(executed(diff((), whole), leave, come), fresh(network)) == []


def test_the_script_starts_the_pods_too() -> None:
    want = state_of("VXLAN", LAB, processes=True)
    assert any(isinstance(obj, Workload) for obj in want)
    inside = ("ip", "netns", "exec", f"nslab.{LAB}.pod-d")
    try:
        typed(diff((), want))
        ask = ("curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--max-time", "10")
        assert output(*inside, *ask, "http://20.111.156.7:8080/hostname") == "pod-b"
        assert output(*inside, *ask, "http://20.111.156.7:8080/clientip").startswith("20.109.131.3:")
        assert output(*inside, *ask, "http://10.103.9.116:8080/hostname") == "pod-b"
        # What it started goes again by the lines that a plan prints.
        typed(tuple(step for step in invert(diff((), want)) if isinstance(step.obj, Process)))
        assert [output("ip", "netns", "pids", ns) for ns in named(LAB) if output("ip", "netns", "pids", ns)] == []
    finally:
        swept()


def test_the_stand_in_for_ipip_by_script() -> None:
    want = state_of("IPIP", LAB, processes=True)
    inside = ("ip", "netns", "exec", f"nslab.{LAB}.pod-d")
    try:
        typed(diff((), want))
        ask = ("curl", "-s", "--retry", "20", "--retry-connrefused", "--retry-delay", "1", "--max-time", "10")
        assert output(*inside, *ask, "http://20.111.156.7:8080/hostname") == "pod-b"
    finally:
        swept()


def test_the_state_is_what_is_seen() -> None:
    want = state_of("IPIP", LAB)
    with real(LAB) as kernel:
        apply(kernel, diff((), want))
        assert {words[0] for words in seen(LAB, want)} >= {"link", "route", "blackhole", "neighbour", "rules", "member"}
