"""What becomes of pods of an earlier template: step after step, as their controllers decide."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from nslab.admission.change import applied, deleted, moved_on, scaled
from nslab.admission.load import parse, parse_stored
from nslab.admission.settings import with_settings
from nslab.compiler.placement import assign_addresses
from nslab.controllers.controlled import begun, is_updated, stepped, unfinished, wakes
from nslab.controllers.rollout import bounds
from nslab.controllers.rollout import scaled as scaled_value
from nslab.errors import LabFileError
from nslab.lab.dump import dump
from nslab.lab.history import replica_sets, revision_of
from nslab.lab.replica_sets import revision
from nslab.lab.scheduling import with_waiting
from nslab.lab.status import merge_status

if TYPE_CHECKING:
    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab

LAB = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: l}\nspec: {nodes: [{name: a}, {name: b}, {name: c}]}\n---\n"
SET = """\
apiVersion: apps/v1
kind: KIND
metadata: {name: web}
spec:
  replicas: 4
  STRATEGY
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, command: [sleep, IMAGE]}]}
"""
NOW = 1000.0
Report = dict[str, dict[str, Any]]


def text(kind: str, args: str, strategy: str = "") -> str:
    found = SET.replace("KIND", kind).replace("IMAGE", args).replace("STRATEGY", strategy or "minReadySeconds: 0")
    return found.replace("  replicas: 4\n", "") if kind == "DaemonSet" else found


def running(kind: str, strategy: str = "") -> Lab:
    return stored(parse(LAB + text(kind, "one", strategy), "x"))


def stored(lab: Lab) -> Lab:
    """The lab as it is read again."""
    made = assign_addresses(lab)
    assert parse_stored(dump(made), "kept") == made
    return made


def named(lab: Lab) -> list[Pod]:
    return [pod for pod in lab.pods if pod.owner.endswith("/web")]


def args(lab: Lab) -> list[str]:
    return [pod.containers[0].command[1] for pod in named(lab)]


def all_ready(lab: Lab, *but: str) -> Report:
    """A report in which all pods are ready but those with such an argument."""
    ready = ((pod, pod.containers[0].command[1] not in but) for pod in named(lab))
    return {f"default/{pod.name}": {"ready": is_ready, "since": NOW - 5} for pod, is_ready in ready}


def apply(lab: Lab, *what: str, report: Report | None = None) -> Lab:
    made = merge_status(applied(lab, text(*what))[0], lab)
    return stored(stepped(made, lab, all_ready(lab) if report is None else report, NOW))


def step(lab: Lab, *broken: str, now: float = NOW) -> Lab:
    """The next step, after which what was ended has gone."""
    return stored(moved_on(lab, all_ready(lab, *broken), now))


def rounds(lab: Lab, *broken: str) -> list[list[str]]:
    """The pods' arguments after each step, until there is none."""
    found = [args(lab)]
    while (after := step(lab, *broken)) != lab:
        lab = after
        found.append(args(lab))
        assert len(found) < 20
    return found


@pytest.mark.parametrize(
    ("value", "up", "number"),
    [("25%", True, 1), ("25%", False, 0), (2, True, 2), ("100%", False, 3), ("34%", True, 2), ("0%", True, 0)],
)
def test_percentages_of_three(value: int | str, up: bool, number: int) -> None:
    assert scaled_value(value, 3, up=up) == number


@pytest.mark.parametrize(
    ("strategy", "found"),
    [
        ("", (1, 1)),
        ("strategy: {rollingUpdate: {maxSurge: 0, maxUnavailable: 10%}}", (0, 1)),
        ("strategy: {rollingUpdate: {maxSurge: 10%, maxUnavailable: 10%}}", (1, 0)),
        ("strategy: {rollingUpdate: {maxSurge: 3, maxUnavailable: 9}}", (3, 4)),
    ],
)
def test_bounds_of_four_replicas(strategy: str, found: tuple[int, int]) -> None:
    (one,) = running("Deployment", strategy).controllers
    assert bounds(one) == found


def test_a_rolling_update() -> None:
    lab = apply(running("Deployment"), "Deployment", "two")
    assert rounds(lab) == [["one"] * 3 + ["two"] * 2, ["one", *["two"] * 4], ["two"] * 4]


def test_one_more_and_none_less() -> None:
    strategy = "strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
    lab = apply(running("Deployment", strategy), "Deployment", "two", strategy)
    assert [(found.count("one"), found.count("two")) for found in rounds(lab)] == [
        (4, 1), (3, 2), (2, 3), (1, 4), (0, 4)
    ]  # fmt: skip


def test_a_template_that_never_gets_ready_leaves_the_old_pods() -> None:
    lab = apply(running("Deployment"), "Deployment", "bad")
    assert rounds(lab, "bad") == [["one"] * 3 + ["bad"] * 2]
    (one,) = lab.controllers
    assert unfinished(lab) == [one]
    assert [
        each["metadata"]["annotations"]["deployment.kubernetes.io/revision"] for each in replica_sets(lab, one)
    ] == ["1", "2"]
    healed = apply(lab, "Deployment", "three", report=all_ready(lab, "bad"))
    assert args(healed).count("bad") == 0, "what never was available goes first"
    assert rounds(healed)[-1] == ["three"] * 4


def test_back_to_the_template_before() -> None:
    first = running("Deployment")
    bad = apply(first, "Deployment", "bad")
    back = apply(bad, "Deployment", "one", report=all_ready(bad, "bad"))
    assert args(back) == ["one"] * 4
    assert {pod.name for pod in named(bad)[:3]} < {pod.name for pod in named(back)}
    assert not {pod.name for pod in named(bad)[3:]} & {pod.name for pod in named(back)}
    (gone,) = {pod.name for pod in named(first)} - {pod.name for pod in named(bad)}
    assert gone not in {pod.name for pod in named(back)}, "a name does not come again"
    (one,) = back.controllers
    assert [revision_of(each) for each in replica_sets(back, one)] == [2, 3]


def test_a_deleted_pod_of_the_old_template_comes_again() -> None:
    strategy = "strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
    lab = apply(running("Deployment", strategy), "Deployment", "bad", strategy)
    gone = named(lab)[0]
    made = merge_status(deleted(lab, [f"pod/{gone.name}"])[0], lab)
    after = stored(stepped(made, lab, all_ready(lab, "bad"), NOW))
    assert sorted(args(after)) == ["bad", *["one"] * 4]
    assert gone.name not in {pod.name for pod in named(after)}
    (new,) = {pod.name for pod in named(after)} - {pod.name for pod in named(lab)}
    assert new.rpartition("-")[0] == gone.name.rpartition("-")[0]


def test_minimum_seconds_of_being_ready() -> None:
    strategy = "minReadySeconds: 7\n  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
    lab = apply(running("Deployment", strategy), "Deployment", "two", strategy)
    assert step(lab) == lab
    assert wakes(lab, all_ready(lab), NOW) == NOW + 2
    assert args(step(lab, now=NOW + 2)).count("two") == 2


def test_recreate() -> None:
    lab = apply(running("Deployment", "strategy: {type: Recreate}"), "Deployment", "two", "strategy: {type: Recreate}")
    assert rounds(lab) == [[], ["two"] * 4]
    old = replace(named(running("Deployment"))[0], owner="", deletion=NOW + 30)
    waiting = replace(lab, pods=(old,))
    assert args(moved_on(waiting, {}, NOW)) == [], "nothing begins while an old pod terminates"


def test_a_paused_deployment_keeps_its_pods() -> None:
    lab = apply(running("Deployment", "paused: true"), "Deployment", "two", "paused: true")
    assert args(lab) == ["one"] * 4
    assert args(apply(lab, "Deployment", "two")) == ["one"] * 3 + ["two"] * 2


def test_a_rollout_that_is_paused_midway_is_left_as_it_is() -> None:
    lab = apply(apply(running("Deployment"), "Deployment", "two"), "Deployment", "two", "paused: true")
    assert len(named(lab)) == 5
    assert unfinished(lab) == []
    assert step(lab) == lab


def test_pods_that_stay_follow_what_changes_around_them() -> None:
    played = text("Deployment", "one").replace("command: [sleep, one]", "image: example.org/web:1")
    lab = stored(parse(LAB + played, "x"))
    service = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: {app: web}, ports: [{port: 8080}]}\n"
    )
    made = stepped(merge_status(applied(lab, service)[0], lab), lab, {}, NOW)
    for one, ports in ((lab, set()), (made, {8080})):
        players = [pod.containers[0].standin for pod in named(one)]
        assert {port.port for each in players if each for port in each.ports} == ports


def test_a_stateful_set_from_the_end() -> None:
    lab = apply(running("StatefulSet"), "StatefulSet", "two")
    assert rounds(lab) == [
        ["one"] * 3, ["one"] * 3 + ["two"], ["one", "one", "two"], ["one", "one", "two", "two"],
        ["one", "two", "two"], ["one", "two", "two", "two"], ["two"] * 3, ["two"] * 4,
    ]  # fmt: skip
    before = {pod.name: pod.uid for pod in named(running("StatefulSet"))}
    done = lab
    while (after := step(done)) != done:
        done = after
    assert [pod.name for pod in named(done)] == [*before]
    assert not {*before.values()} & {pod.uid for pod in named(done)}
    assert unfinished(done) == []


def to_one(lab: Lab, report: Report) -> Lab:
    """The first step after `kubectl scale sts/web --replicas 1`."""
    return stored(stepped(scaled(lab, ["sts/web"], 1)[0], lab, report, NOW))


def names(lab: Lab) -> list[str]:
    return [pod.name for pod in named(lab)]


def test_a_stateful_set_scales_down_from_the_end_one_after_the_other() -> None:
    lab = to_one(running("StatefulSet"), all_ready(running("StatefulSet")))
    assert names(lab) == ["web-0", "web-1", "web-2"]
    assert unfinished(lab) == [*lab.controllers]
    leaving = replace(named(running("StatefulSet"))[3], owner="", deletion=NOW + 30)
    terminating = replace(lab, pods=(*lab.pods, leaving))
    assert moved_on(terminating, all_ready(lab), NOW) == terminating, "it waits until the last one is gone"
    assert (names(step(lab)), names(step(step(lab)))) == (["web-0", "web-1"], ["web-0"])
    assert unfinished(step(step(lab))) == []
    parallel = running("StatefulSet", "podManagementPolicy: Parallel")
    assert names(to_one(parallel, all_ready(parallel))) == ["web-0"]


@pytest.mark.parametrize(
    ("unready", "left"),
    [((0,), 4), ((1,), 3), ((3,), 3), ((2, 3), 4)],
    ids=["one that stays", "not the last", "the last alone", "two"],
)
def test_scaling_down_waits_for_pods_that_are_not_ready(unready: tuple[int, ...], left: int) -> None:
    lab = running("StatefulSet")
    report = all_ready(lab) | {f"default/web-{number}": {"ready": False, "phase": "Running"} for number in unready}
    assert len(names(to_one(lab, report))) == left


def test_a_stateful_set_has_its_first_pod_at_first_and_the_next_when_all_before_are_available() -> None:
    lab = stored(begun(parse(LAB + text("StatefulSet", "one", "minReadySeconds: 7"), "x")))
    assert (names(lab), step(lab) == lab) == (["web-0"], True)
    assert unfinished(lab) == [*lab.controllers]
    assert names(step(lab, now=NOW + 2)) == ["web-0", "web-1"]
    parallel = parse(LAB + text("StatefulSet", "one", "podManagementPolicy: Parallel"), "x")
    assert stored(begun(parallel)) == stored(parallel)


def test_a_stateful_set_that_scales_up_makes_one_pod_after_the_other() -> None:
    lab = to_one(running("StatefulSet", "podManagementPolicy: Parallel"), {})
    lab = apply(lab, "StatefulSet", "one", report={})
    assert names(lab) == ["web-0"], "web-0 is not ready"
    more = step(lab)
    leaving = replace(named(lab)[0], name="web-2", owner="", deletion=NOW + 30)
    assert (names(more), names(step(more))) == (["web-0", "web-1"], ["web-0", "web-1", "web-2"])
    terminating = replace(more, pods=(*more.pods, leaving))
    assert moved_on(terminating, all_ready(more), NOW) == terminating, "there is one of the name"


def test_a_stateful_set_has_scaled_down_before_a_new_template_begins() -> None:
    lab = running("StatefulSet")
    fewer = text("StatefulSet", "two").replace("replicas: 4", "replicas: 2")
    made = stored(stepped(merge_status(applied(lab, fewer)[0], lab), lab, all_ready(lab), NOW))
    assert (names(made), names(step(made))) == (["web-0", "web-1", "web-2"], ["web-0", "web-1"])
    leaving = replace(named(lab)[2], owner="", deletion=NOW + 30)
    terminating = replace(step(made), pods=(*step(made).pods, leaving))
    assert moved_on(terminating, all_ready(terminating), NOW) == terminating
    assert args(step(step(made))) == ["one"]


def test_a_parallel_stateful_set_has_one_unavailable_pod_at_most() -> None:
    parallel = "podManagementPolicy: Parallel"
    lab = running("StatefulSet", parallel)
    report = {**all_ready(lab), "default/web-1": {"ready": False}}
    made = apply(lab, "StatefulSet", "two", parallel, report=report)
    assert args(made) == ["one"] * 4
    assert args(apply(lab, "StatefulSet", "two", parallel)) == ["one"] * 3


def test_deleted_pods_of_a_stateful_set_come_again_in_their_order() -> None:
    lab = running("StatefulSet")
    made = merge_status(deleted(lab, ["pod/web-1", "pod/web-3"])[0], lab)
    after = stored(stepped(made, lab, all_ready(lab), NOW))
    assert names(after) == ["web-0", "web-1", "web-2"]
    assert moved_on(after, {**all_ready(after), "default/web-1": {"ready": False}}, NOW) == after
    assert names(step(after)) == ["web-0", "web-1", "web-2", "web-3"]


def test_a_stateful_set_waits_for_a_pod_that_is_not_ready() -> None:
    lab = step(apply(running("StatefulSet"), "StatefulSet", "bad"))
    assert rounds(lab, "bad") == [["one"] * 3 + ["bad"]]


def test_what_is_deleted_in_the_middle_ends_no_second_pod() -> None:
    service = (
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n"
    )
    lab = apply(stored(parse(LAB + text("StatefulSet", "one") + service, "x")), "StatefulSet", "two")
    old = replace(named(lab)[0], name="web-3", uid="x", owner="", deletion=NOW + 30, assigned=None)
    terminating = replace(lab, pods=(*lab.pods, old))
    made = merge_status(deleted(terminating, ["service/s"])[0], terminating)
    assert args(stepped(made, terminating, all_ready(lab), NOW)) == ["one"] * 3
    assert moved_on(terminating, all_ready(lab), NOW) == terminating, "nothing is made while one of the name is there"


def test_the_history_goes_with_its_deployment() -> None:
    lab = apply(running("Deployment"), "Deployment", "two")
    assert len(lab.replica_sets) == 1
    assert deleted(lab, ["deploy/web"])[0].replica_sets == ()


def test_a_partition() -> None:
    strategy = "updateStrategy: {rollingUpdate: {partition: 3}}"
    lab = step(apply(running("StatefulSet", strategy), "StatefulSet", "two", strategy))
    assert rounds(lab) == [["one"] * 3 + ["two"]]
    assert unfinished(lab) == []
    made = merge_status(deleted(lab, ["pod/web-0", "pod/web-3"])[0], lab)
    after = stepped(made, lab, all_ready(lab), NOW)
    assert args(after) == ["one"] * 3 + ["two"], "below the partition the old template counts"
    assert named(after)[0].uid != named(lab)[0].uid


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_on_delete(kind: str) -> None:
    strategy = "updateStrategy: {type: OnDelete}"
    lab = apply(running(kind, strategy), kind, "two", strategy)
    assert set(args(lab)) == {"one"}
    gone = named(lab)[0].name
    made = merge_status(deleted(lab, [f"pod/{gone}"])[0], lab)
    assert sorted(args(step(stored(stepped(made, lab, all_ready(lab), NOW)))))[-2:] == ["one", "two"]


def test_a_daemon_set_node_by_node() -> None:
    lab = apply(running("DaemonSet"), "DaemonSet", "two")
    assert rounds(lab) == [
        ["one"] * 2,
        ["one", "one", "two"],
        ["one", "two"],
        ["one", "two", "two"],
        ["two"] * 2,
        ["two"] * 3,
    ]
    assert {pod.node for pod in named(lab)} < {"a", "b", "c"}
    bad = step(apply(running("DaemonSet"), "DaemonSet", "bad"))
    assert rounds(bad, "bad") == [["one", "one", "bad"]]


def test_a_daemon_set_waits_until_the_old_pod_of_a_node_is_gone() -> None:
    lab = apply(running("DaemonSet"), "DaemonSet", "two")
    (gone,) = {pod.node for pod in named(running("DaemonSet"))} - {pod.node for pod in named(lab)}
    old = next(pod for pod in named(running("DaemonSet")) if pod.node == gone)
    terminating = replace(lab, pods=(*lab.pods, replace(old, owner="", deletion=NOW + 30)))
    assert moved_on(terminating, all_ready(lab), NOW) == terminating
    assert len(args(step(lab))) == 3


def test_a_daemon_set_with_a_surge() -> None:
    strategy = "updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
    lab = apply(running("DaemonSet", strategy), "DaemonSet", "two", strategy)
    found = rounds(lab)
    assert found[0] == ["one"] * 3 + ["two"]
    assert min(map(len, found)) == 3
    assert found[-1] == ["two"] * 3
    assert rounds(apply(running("DaemonSet", strategy), "DaemonSet", "bad", strategy), "bad") == [["one"] * 3 + ["bad"]]


def test_a_surge_is_for_nodes_whose_pods_work() -> None:
    strategy = "updateStrategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
    lab = running("DaemonSet", strategy)
    first = named(lab)[0]
    report = {**all_ready(lab), f"default/{first.name}": {"ready": False}}
    new = [pod.node for pod in named(apply(lab, "DaemonSet", "two", strategy, report=report))][3:]
    assert (len(new), first.node in new) == (2, True), "a broken pod's successor takes none of it"


@pytest.mark.parametrize("kind", ["ReplicaSet"])
def test_a_replica_set_makes_new_pods_alone_of_a_new_template(kind: str) -> None:
    lab = apply(running(kind), kind, "two")
    assert args(lab) == ["one"] * 4
    gone = named(lab)[0].name
    made = merge_status(deleted(lab, [f"pod/{gone}"])[0], lab)
    assert args(stepped(made, lab, {}, NOW)).count("two") == 1
    assert args(stepped(merge_status(scaled(lab, ["rs/web"], 2)[0], lab), lab, {}, NOW)) == ["one"] * 2


def test_new_pods_wait_for_addresses() -> None:
    nodes = "spec: {cni: {plugin: kubenet}, nodes: [{name: a, podCIDR: 20.96.1.0/29}]}\n"
    lab = stored(parse(LAB.partition("spec")[0] + nodes + "---\n" + text("Deployment", "one"), "x"))
    made = apply(lab, "Deployment", "two")
    assert args(made) == ["one"] * 3 + ["two"], "of five addresses the old pods hold four, one of them terminating"


def test_labels_tell_the_templates_apart() -> None:
    for kind in ("StatefulSet", "DaemonSet"):
        lab = running(kind)
        (one,) = lab.controllers
        label = dict(named(lab)[0].labels)["controller-revision-hash"]
        assert label.startswith("web-") is (kind == "StatefulSet")
        assert all(is_updated(pod, revision(one)) for pod in named(lab))


ROLLING = "spec.strategy.rollingUpdate"


@pytest.mark.parametrize(
    ("kind", "strategy", "words"),
    [
        ("Deployment", "strategy: {type: Roll}", 'spec.strategy.type: Unsupported value: "Roll": supported values: '),
        ("Deployment", "strategy: {type: Recreate, rollingUpdate: {}}", f"{ROLLING}: Forbidden: may not be specified"),
        (
            "Deployment",
            "strategy: {rollingUpdate: {maxSurge: 20Percent}}",
            f'{ROLLING}.maxSurge: Invalid value: "20Per',
        ),
        ("Deployment", "strategy: {rollingUpdate: {maxSurge: -1}}", f"{ROLLING}.maxSurge: Invalid value: -1: must be"),
        (
            "Deployment",
            "strategy: {rollingUpdate: {maxUnavailable: 110%}}",
            'Invalid value: "110%": must not be greater',
        ),
        (
            "Deployment",
            "strategy: {rollingUpdate: {maxSurge: 0%, maxUnavailable: 0}}",
            "may not be 0 when `maxSurge` is 0",
        ),
        ("DaemonSet", "updateStrategy: {rollingUpdate: {maxUnavailable: 0}}", "cannot be 0 when maxSurge is 0"),
        (
            "DaemonSet",
            "updateStrategy: {rollingUpdate: {maxSurge: 1}}",
            "may not be set when maxUnavailable is non-zero",
        ),
        ("StatefulSet", "updateStrategy: {rollingUpdate: {partition: -1}}", "partition: Invalid value: -1: must be"),
    ],
)
def test_strategies_that_are_none(kind: str, strategy: str, words: str) -> None:
    with pytest.raises(LabFileError) as caught:
        running(kind, strategy)
    (error,) = caught.value.errors
    assert words in str(error)


def test_a_setting_changes_nothing_about_pods_of_an_earlier_template() -> None:
    lab = apply(running("Deployment"), "Deployment", "two")
    made = with_settings(lab, {"proxy-mode": "nftables"})
    assert [pod.name for pod in named(made)] == [pod.name for pod in named(lab)]
    assert args(made) == args(lab)
    assert made.replica_sets == lab.replica_sets


def with_port(kind: str, args: str, replicas: int) -> str:
    ports = "ports: [{containerPort: 80, hostPort: 80}]}]"
    return text(kind, args).replace("replicas: 4", f"replicas: {replicas}").replace("}]}", f", {ports}}}")


@pytest.mark.parametrize("replicas", [2, 3])
def test_a_new_pod_waits_for_a_node_with_its_port_free(replicas: int) -> None:
    """With as many old pods as nodes, none gives its own back: so it is in a cluster."""
    lab = stored(parse(LAB + with_port("Deployment", "one", replicas), "x"))
    made = merge_status(applied(lab, with_port("Deployment", "two", replicas))[0], lab)
    made = stored(with_waiting(stepped(made, lab, all_ready(lab), NOW)))
    assert sorted(args(made)) == ["one"] * replicas + ["two"] * (3 - replicas)
    assert len({pod.node for pod in named(made)}) == 3
    assert [pod.node for pod in made.pending] == [""] * (replicas - 2)


def test_it_is_on_the_node_of_one_that_has_gone() -> None:
    lab = stored(parse(LAB + with_port("Deployment", "one", 3), "x"))
    made = merge_status(applied(lab, with_port("Deployment", "two", 3))[0], lab)
    made = stored(stepped(made, lab, all_ready(lab), NOW))
    gone = lab.pods[0]
    left = with_waiting(replace(made, pods=tuple(pod for pod in made.pods if pod.name != gone.name)))
    assert [pod.node for pod in left.pods if pod.containers[0].command[1] == "two"] == [gone.node]
    assert left.pending == ()


def test_a_daemon_waits_for_no_other_node() -> None:
    lab = stored(parse(LAB + with_port("DaemonSet", "one", 0), "x"))
    made = merge_status(applied(lab, with_port("DaemonSet", "two", 0))[0], lab)
    assert stepped(made, lab, all_ready(lab), NOW).pending == ()
