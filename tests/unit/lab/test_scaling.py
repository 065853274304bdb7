"""Scaling in the middle of a rolling update: ReplicaSets share the pods in the proportion that they had."""

from __future__ import annotations

import pytest

from nslab.admission.change import applied, scaled
from nslab.controllers.controlled import stepped
from nslab.controllers.scaling import in_proportion
from nslab.lab.status import merge_status
from tests.unit.lab.test_rollout import NOW, all_ready, apply, args, named, rounds, running, stored, text


@pytest.mark.parametrize(
    ("sizes", "most", "most_before", "found"),
    [
        ([9, 3], 24, 12, [18, 6]),
        ([9, 3], 4, 12, [3, 1]),
        ([2, 2], 5, 4, [2, 3]),
        ([2, 2], 3, 4, [1, 2]),
        ([5, 5, 5], 16, 15, [5, 5, 6]),
        ([1, 6], 3, 7, [0, 3]),
        ([4, 3, 2], 0, 9, [0, 0, 0]),
        ([3, 2], 7, 7, [5, 2]),
        ([3, 3], 7, 9, [2, 5]),
        ([1, 7], 8, 13, [1, 7]),
        ([6, 2], 5, 20, [3, 2]),
    ],
)
def test_shares(sizes: list[int], most: int, most_before: int, found: list[int]) -> None:
    assert in_proportion(sizes, most, most_before) == found


SURGE = "strategy: {rollingUpdate: {maxSurge: 2, maxUnavailable: 0}}"


@pytest.mark.parametrize(
    ("replicas", "old", "new"),
    [(8, 7, 3), (10, 8, 4), (2, 3, 1), (1, 2, 1), (0, 0, 0)],
)
def test_in_the_middle(replicas: int, old: int, new: int) -> None:
    lab = apply(running("Deployment", SURGE), "Deployment", "bad", SURGE)
    assert (args(lab).count("one"), args(lab).count("bad")) == (4, 2)
    made = stored(stepped(scaled(lab, ["deploy/web"], replicas)[0], lab, all_ready(lab, "bad"), NOW))
    assert (args(made).count("one"), args(made).count("bad")) == (old, new)
    assert len({pod.name for pod in named(made)}) == old + new
    assert rounds(made)[-1] == ["bad"] * replicas


def test_the_proportion_is_that_of_the_bounds_before() -> None:
    lab = apply(running("Deployment", SURGE), "Deployment", "bad", SURGE)
    more = text("Deployment", "bad", SURGE.replace("maxSurge: 2", "maxSurge: 4")).replace("replicas: 4", "replicas: 8")
    made = stepped(merge_status(applied(lab, more)[0], lab), lab, all_ready(lab, "bad"), NOW)
    assert (args(made).count("one"), args(made).count("bad")) == (8, 4)


def test_the_only_replica_set_has_all_before_a_new_template_begins() -> None:
    lab = running("Deployment")
    changed = merge_status(applied(lab, text("Deployment", "two").replace("replicas: 4", "replicas: 6"))[0], lab)
    made = stored(stepped(changed, lab, all_ready(lab), NOW))
    assert args(made) == ["one"] * 6
    assert rounds(made)[-1] == ["two"] * 6


def test_a_paused_deployment_is_scaled_too() -> None:
    lab = apply(running("Deployment", "paused: true"), "Deployment", "two", "paused: true")
    assert args(stepped(scaled(lab, ["deploy/web"], 2)[0], lab, {}, NOW)) == ["one"] * 2


def test_recreating_has_no_proportions() -> None:
    strategy = "strategy: {type: Recreate}"
    lab = running("Deployment", strategy)
    changed = merge_status(
        applied(lab, text("Deployment", "two", strategy).replace("replicas: 4", "replicas: 2"))[0], lab
    )
    made = stepped(changed, lab, all_ready(lab), NOW)
    assert args(made) == ["one"] * 2
    assert rounds(stored(made)) == [["one"] * 2, [], ["two"] * 2]


def test_what_is_not_available_goes_first() -> None:
    lab = apply(running("Deployment", SURGE), "Deployment", "two", SURGE)
    broken = named(lab)[1].name
    report = {**all_ready(lab), f"default/{broken}": {"ready": False}}
    made = stepped(scaled(lab, ["deploy/web"], 2)[0], lab, report, NOW)
    assert broken not in {pod.name for pod in named(made)}
    assert args(made).count("one") == 3
