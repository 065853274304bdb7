"""The documents of a stream: which are nslab's to act on, and which it keeps as they are."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from nslab.admission.change import applied, deleted
from nslab.admission.load import parse, parse_with_warnings
from nslab.errors import LabFileError
from nslab.lab.dump import dump

if TYPE_CHECKING:
    from pathlib import Path

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


CREATED = "---\napiVersion: v1\nkind: {0}\nmetadata: {{generateName: {1}}}\n"


def test_a_generated_name_is_the_same_when_the_file_is_read_again() -> None:
    both = CREATED.format("ConfigMap", "run-") * 2 + CREATED.format("Secret", "run-")
    names = [one.name for one in parse(HEAD + both, "").others]
    assert len(set(names)) == 3
    assert all(re.fullmatch("run-[b-z2-9]{5}", name) for name in names)
    assert [one.name for one in parse(HEAD + both, "").others] == names
    assert [one.name for one in parse(HEAD + CREATED.format("ConfigMap", "run-"), "").others] == names[:1]


def test_a_generated_name_fits_into_a_label_and_the_object_keeps_its_base() -> None:
    (one,) = parse(HEAD + CREATED.format("ConfigMap", "a" * 80), "").others
    assert (one.name[:-5], len(one.name)) == ("a" * 58, 63)
    assert one.document["metadata"]["generateName"] == "a" * 80


def test_what_generates_no_name() -> None:
    pod = CREATED + "spec: {{containers: [{{name: c, image: pause}}]}}\n"
    assert errors(pod.format("Pod", "Web-")) == [
        """4:26: metadata.generateName: Web- must be lower case letters, digits and '-', in parts joined by '.'"""
    ]
    assert errors(pod.format("Pod", "''")) == ["4:11: metadata.name is missing"]
    assert errors(CREATED.format("ConfigMap", "3")) == [
        '4:26: metadata.generateName: 3 is a number in YAML, and text is needed; write "3"'
    ]


def test_apply_and_delete_need_a_name(tmp_path: Path) -> None:
    lab, text = parse(HEAD, ""), CREATED.format("ConfigMap", "run-")
    with pytest.raises(LabFileError, match=r"4:26: error: from run-: cannot use generate name with apply$"):
        applied(lab, text)
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(LabFileError, match=r"4:26: error: resource name may not be empty$"):
        deleted(lab, tmp_path / "run.yaml")
