"""Which pods terminate when a lab becomes another, and for how long; what their documents say of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from nslab.admission.change import applied, deleted, scaled
from nslab.admission.load import parse, parse_stored
from nslab.compiler.endpoints import resolve
from nslab.compiler.placement import assign_addresses
from nslab.lab.dump import dump
from nslab.lab.termination import key, timestamp, with_terminating, without, without_terminating

if TYPE_CHECKING:
    from nslab.api.pod_types import Pod
    from nslab.lab.types import Lab

FILE = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: small}
spec: {nodes: [{name: n1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a, labels: {app: web}}
spec: {terminationGracePeriodSeconds: 5, containers: [{name: c, image: agnhost}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: agnhost}]}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""
NOW = 1_800_000_000.0
LAB = assign_addresses(parse(FILE, "small"))


def changed(new: Lab, grace: int | None = None, kept: Lab = LAB) -> Lab:
    return assign_addresses(with_terminating(new, kept, NOW, grace))


def going(lab: Lab) -> dict[str, float]:
    return {pod.name: pod.deletion - NOW for pod in lab.pods if pod.deletion}


def pod(lab: Lab, name: str) -> Pod:
    return next(one for one in lab.pods if one.name == name)


def test_a_pod_that_is_deleted_has_as_long_as_it_says() -> None:
    lab = changed(deleted(LAB, ["pod/a"])[0])
    assert going(lab) == {"a": 5}
    assert pod(lab, "a").assigned == pod(LAB, "a").assigned, "others do not get its address"
    assert going(changed(deleted(LAB, ["pod/a"])[0], grace=2)) == {"a": 2}
    assert going(changed(deleted(LAB, ["pod/a"])[0], grace=0)) == {}, "at once"


def test_replicas_that_are_scaled_away_terminate_and_belong_to_nobody() -> None:
    lab = changed(scaled(LAB, ["deployment/web"], 1)[0])
    assert sorted(going(lab).values()) == [30, 30]
    kept = parse_stored(dump(lab), "small")
    assert sorted(going(kept).values()) == [30, 30]
    assert [one.owner for one in kept.pods if one.deletion] == ["", ""]
    assert len(without_terminating(kept).pods) == 2
    assert (
        going(changed(scaled(without_terminating(kept), ["deployment/web"], 2)[0], kept=kept)).keys()
        < going(lab).keys()
    )


def test_they_outlive_their_controller() -> None:
    lab = changed(deleted(LAB, ["deployment/web"])[0])
    assert len(going(parse_stored(dump(lab), "small"))) == 3


def test_who_terminates_gets_no_more_time_but_perhaps_less() -> None:
    lab = changed(deleted(LAB, ["pod/a"])[0])
    gone = without_terminating(lab)
    assert going(assign_addresses(with_terminating(gone, lab, NOW + 3, None))) == {"a": 5}
    assert going(assign_addresses(with_terminating(gone, lab, NOW + 3, 1))) == {"a": 4}


def test_who_has_ended_is_no_more() -> None:
    lab = changed(deleted(LAB, ["pod/a"])[0])
    assert without(lab, {("default", "a")}) == without_terminating(lab)
    assert without(LAB, {key(one) for one in LAB.pods}) == LAB, "they do not terminate"


@pytest.mark.parametrize(
    "claim",
    [
        "metadata: {name: b, annotations: {cni.projectcalico.org/ipAddrs: '[\"20.96.0.1\"]'}}",
        "metadata: {name: a, labels: {app: other}}",
    ],
)
def test_who_is_in_the_way_of_a_new_pod_does_not_stay(claim: str) -> None:
    assert str(pod(LAB, "a").assigned) == "20.96.0.1"
    text = f"apiVersion: v1\nkind: Pod\n{claim}\nspec: {{nodeName: n1, containers: [{{name: c, image: agnhost}}]}}\n"
    lab = changed(applied(deleted(LAB, ["pod/a"])[0], text)[0])
    assert going(lab) == {}


def test_its_endpoint_serves_while_it_is_ready() -> None:
    lab = changed(deleted(LAB, ["pod/a"])[0])

    def end(lab: Lab) -> tuple[bool, bool, bool]:
        service = next(one for one in resolve(lab) if one.name == "web")
        found = next(end for end in service.ports[0].endpoints if end.pod == "default/a")
        return found.ready, found.serving, found.terminating

    assert end(LAB) == (True, True, False)
    assert end(lab) == (False, True, True)
    unready = replace(lab, pods=tuple(replace(one, ready=False) for one in lab.pods))
    assert end(unready) == (False, False, True)


def test_a_moment_is_written_as_the_api_has_it() -> None:
    assert timestamp(NOW + 0.2) == "2027-01-15T08:00:01Z"
    assert timestamp(0) == ""


def test_a_users_file_ends_nobody() -> None:
    copied = FILE.replace("name: a,", 'name: a, deletionTimestamp: "2020-01-01T00:00:00Z",')
    assert going(parse(copied, "small")) == {}


def test_a_template_is_not_deleted() -> None:
    """Controllers copy a template's labels and annotations alone."""
    template = "template: {metadata: {labels: {app: web}, name: x, deletionTimestamp: '2020-01-01T00:00:00Z'}, "
    spec = f"{{selector: {{matchLabels: {{app: web}}}}, {template}spec: {{containers: [{{name: c, image: nginx}}]}}}}}}"
    lab = parse(f"apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {spec}\n", "f")
    (pod,) = (one for one in lab.pods if one.owner)
    assert (pod.deletion, "deletionTimestamp" in pod.document["metadata"]) == (0.0, False)
    assert parse_stored(dump(lab), "kept") == lab
