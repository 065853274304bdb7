"""What controllers say that they have done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.admission.change import deleted
from nslab.controllers.controlled import stepped
from nslab.controllers.events import controller_events
from nslab.lab.status import merge_status
from tests.unit.lab import test_cron_jobs as cron
from tests.unit.lab.test_rollout import NOW, all_ready, apply, named, running, step

if TYPE_CHECKING:
    from collections.abc import Collection

    from nslab.lab.types import Lab


def said(before: Lab | None, after: Lab, by_user: Collection[str] = ()) -> list[tuple[str, str, str]]:
    return [(one.kind, one.reason, one.message) for one in controller_events(before, after, by_user)]


def test_a_deployment_and_its_replica_sets() -> None:
    first = running("Deployment")
    names = [pod.name for pod in named(first)]
    old = names[0].rpartition("-")[0]
    made = [("ReplicaSet", "SuccessfulCreate", f"Created pod: {name}") for name in names]
    assert said(None, first) == [
        ("Deployment", "ScalingReplicaSet", f"Scaled up replica set {old} from 0 to 4"), *made
    ]  # fmt: skip
    second = apply(first, "Deployment", "two")
    new = [pod.name for pod in named(second) if not pod.name.startswith(old)]
    (gone,) = {*names} - {pod.name for pod in named(second)}
    assert said(first, second) == [
        ("Deployment", "ScalingReplicaSet", f"Scaled up replica set {new[0].rpartition('-')[0]} from 0 to 2"),
        ("Deployment", "ScalingReplicaSet", f"Scaled down replica set {old} from 4 to 3"),
        *(("ReplicaSet", "SuccessfulCreate", f"Created pod: {name}") for name in new),
        ("ReplicaSet", "SuccessfulDelete", f"Deleted pod: {gone}"),
    ]
    assert said(second, second) == []


def test_a_pod_that_a_user_deletes_is_made_again_alone() -> None:
    lab = running("DaemonSet")
    gone = named(lab)[0].name
    made = merge_status(deleted(lab, [f"pod/{gone}"])[0], lab)
    after = stepped(made, lab, all_ready(lab), NOW)
    (new,) = {pod.name for pod in named(after)} - {pod.name for pod in named(lab)}
    assert said(lab, after, {f"default/{gone}"}) == [("DaemonSet", "SuccessfulCreate", f"Created pod: {new}")]


def test_a_stateful_set_has_words_of_its_own() -> None:
    lab = running("StatefulSet")
    ended = apply(lab, "StatefulSet", "two")
    assert said(lab, ended) == [
        ("StatefulSet", "SuccessfulDelete", "delete Pod web-3 in StatefulSet web successful")
    ]  # fmt: skip
    assert said(ended, step(ended)) == [
        ("StatefulSet", "SuccessfulCreate", "create Pod web-3 in StatefulSet web successful")
    ]  # fmt: skip


def test_jobs_and_a_cron_job() -> None:
    first = cron.ticking("successfulJobsHistoryLimit: 0")
    second = cron.at(first, 1)
    (pod,) = (pod.name for pod in second.pods if pod.owner)
    assert said(first, second) == [
        ("Job", "SuccessfulCreate", f"Created pod: {pod}"),
        ("CronJob", "SuccessfulCreate", f"Created job {cron.name(0)}"),
    ]
    third = cron.at(cron.at(cron.ticking(), 1), 10, "Succeeded")
    assert said(second, third) == [
        ("Job", "Completed", "Job completed"),
        ("CronJob", "SawCompletedJob", f"Saw completed job: {cron.name(0)}, condition: Complete"),
    ]
    assert said(third, cron.at(first, 1000))[-1] == ("CronJob", "SuccessfulDelete", f"Deleted job {cron.name(0)}")
