"""The documents of a stream: which are nslab's to act on, and which it keeps as they are."""

from __future__ import annotations

import pytest

from nslab.errors import LabFileError
from nslab.lab.dump import dump
from nslab.lab.load import parse, parse_with_warnings

HEAD = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: some}\nspec: {nodes: [{name: node1}]}\n---\n"


def errors(documents: str) -> list[str]:
    with pytest.raises(LabFileError) as error:
        parse(HEAD + documents, "some.yaml")
    return [f"{one.position.line - 5}:{one.position.column}: {one.text}" for one in error.value.errors]


@pytest.mark.parametrize("kind", ["Pod", "Service", "Deployment", "EndpointSlice", "List"])
@pytest.mark.parametrize(
    "says", ["spec: 3", "spec: {containers: a, ports: b}", "endpoints: [1]", "items: [a]", "spec:"]
)
def test_an_object_of_another_group_is_kept_whatever_its_kind_is_called(kind: str, says: str) -> None:
    """Knative has a Service; nobody but Knative knows what that may say."""
    lab, warnings = parse_with_warnings(
        f"{HEAD}apiVersion: knative.dev/v1\nkind: {kind}\nmetadata: {{name: a}}\n{says}", ""
    )
    assert [f"{one.api_version} {one.kind}" for one in lab.others] == [f"knative.dev/v1 {kind}"]
    assert [*map(str, warnings)] == [f"kept, not acted on: 1 {kind}.knative.dev"]
    assert (lab.pods, lab.services, lab.slices, lab.controllers) == ((), (), (), ())
    assert parse(dump(lab), "") == lab


def test_a_list_is_kubernetes_own_and_has_items() -> None:
    assert errors("apiVersion: v2\nkind: List\nitems: []") == ['2:7: no matches for kind "List" in version "v2"']
    assert errors("apiVersion: v1\nkind: List\nitems: {}") == ["3:8: items must be a list, and this is a mapping"]
    assert errors("apiVersion: v1\nkind: List\nitem: []") == ["1:1: items is missing"]


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (
            "v1, kind: ConfigMap",
            "v1, kind: ConfigMap",
            'The ConfigMap "a" is invalid: metadata.name: Duplicate value: "a"',
        ),
        (
            "v1, kind: Namespace",
            "v1, kind: Namespace",
            'The Namespace "a" is invalid: metadata.name: Duplicate value: "a"',
        ),
        ("x.io/v1, kind: Foo", "x.io/v2, kind: Foo", 'The Foo "a" is invalid: metadata.name: Duplicate value: "a"'),
    ],
)
def test_what_is_kept_is_there_once(one: str, other: str, said: str) -> None:
    both = "".join(f"---\n{{apiVersion: {each}, metadata: {{name: a}}}}\n" for each in (one, other))
    assert [text.partition(": ")[2] for text in errors(both)] == [f"{said} (see line 7)"]


def test_kinds_of_two_groups_may_share_a_name() -> None:
    both = [f"---\n{{apiVersion: {group}/v1, kind: Foo, metadata: {{name: a}}}}\n" for group in ("x.io", "y.io")]
    assert len(parse(HEAD + "".join(both), "").others) == 2


def test_a_version_that_is_no_text_is_one_error() -> None:
    service = "metadata: {name: a}\nspec: {ports: [{port: 80}]}"
    assert errors(f"apiVersion: 1\nkind: Service\n{service}") == [
        '1:13: apiVersion: 1 is a number in YAML, and text is needed; write "1"'
    ]


def test_a_template_without_a_spec_makes_no_pods() -> None:
    text = (
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  selector: {matchLabels: {app: web}}\n"
    )
    assert errors(f"{text}  template: {{metadata: {{labels: {{app: web}}}}}}") == [
        '6:13: The Deployment "web" is invalid: spec.template.spec.containers: Required value'
    ]
