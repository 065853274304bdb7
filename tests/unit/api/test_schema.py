"""Kubernetes' schema: the walk along it finds what a JSON Schema validator finds; kinds and versions there are."""

from __future__ import annotations

import copy
import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nslab.admission.load import parse_stored, parse_with_warnings
from nslab.admission.manifest import parse_manifest
from nslab.api import schema
from nslab.api.documents import sentence
from nslab.errors import LabFileError
from nslab.lab.dump import dump
from tests.slow import often

if TYPE_CHECKING:
    from nslab.lab.types import Lab

LAB = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: small}\nspec: {nodes: [{name: a}]}\n---\n"
BARE: dict[str, dict[str, Any]] = {
    "NetworkPolicy": {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "deny", "labels": {"a": "b"}},
        "spec": {
            "podSelector": {},
            "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}], "ports": [{"port": "http"}]}],
        },
    },
    "CronJob": {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "tick"},
        "spec": {
            "schedule": "* * * * *",
            "suspend": False,
            "jobTemplate": {"spec": {"backoffLimit": 3, "template": {"metadata": {"name": "x"}}}},
        },
    },
    "ConfigMap": {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c"},
        "immutable": True,
        "data": {"a": "b"},
    },
}
VALUES = st.sampled_from([0, -1, 1.5, "x", "", True, [], {}, [1], {"a": 1}, [{}], "1Gi"])


@cache
def oracle(kind: str) -> jsonschema.Draft202012Validator:
    """The data as a JSON Schema, its mappings closed, without what nslab adds."""
    lines = (line.partition(" ") for line in schema.FILE.read_text().splitlines()[1:])
    definitions = {name: _closed(json.loads(text)) for name, _, text in lines}
    name = schema.kinds()[BARE[kind]["apiVersion"], kind]
    return jsonschema.Draft202012Validator({"$ref": schema.REF + name, "$defs": definitions})


def _closed(node: Any) -> Any:
    if isinstance(node, dict):
        made = {name: _closed(one) for name, one in node.items()}
        if isinstance(node.get("format"), str) and node["format"] == "int32":
            made |= {"minimum": -(2**31), "maximum": 2**31 - 1}
        return made | {"additionalProperties": False} if isinstance(node.get("properties"), dict) else made
    return [_closed(one) for one in node] if isinstance(node, list) else node


def ways(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(found for name, one in items for found in ways(one, (*way, name)))]


@settings(max_examples=often(400), deadline=None, database=None)
@given(st.data(), st.sampled_from(sorted(BARE)))
def test_a_validator_finds_the_same(data: st.DataObject, kind: str) -> None:
    value = copy.deepcopy(BARE[kind])
    *way, last = data.draw(st.sampled_from([way for way in ways(value) if len(way) > 1 and way[0] != "metadata"]))
    into = value
    for step in way:
        into = into[step]
    match data.draw(st.sampled_from(["replace", "rename", "delete"])):
        case "rename" if isinstance(into, dict):
            into["unheardOf"] = into.pop(last)
        case "delete":
            del into[last]
        case _:
            into[last] = data.draw(VALUES)
    shape = schema.shape_of(value["apiVersion"], kind)
    assert oracle(kind).is_valid(value) == (not schema.check(copy.deepcopy(value), shape)), value


def test_what_is_left_is_as_its_schema_says() -> None:
    value = copy.deepcopy(BARE["NetworkPolicy"])
    value["spec"]["ingress"] = [7, {"ports": 8, "from": [{"ipBlock": {"cidr": "x", "except": ["y", 3]}}]}]
    value["spec"]["podSelector"] = None
    found = schema.check(value, schema.shape_of("networking.k8s.io/v1", "NetworkPolicy"))
    assert len(found) == 3
    assert value["spec"] == {"ingress": [{}, {"from": [{"ipBlock": {"cidr": "x", "except": ["y", "3"]}}]}]}


def output(document: str) -> list[str]:
    try:
        parse_manifest(document, "f")
    except LabFileError as wrong:
        return [str(problem).removeprefix("f:") for problem in wrong.errors]
    return []


@pytest.mark.parametrize(
    ("version", "kind", "sentence"),
    [
        (
            "extensions/v1beta1",
            "Deployment",
            'no matches for kind "Deployment" in version "extensions/v1beta1"; write apps/v1',
        ),
        ("apps/v1beta2", "StatefulSet", 'no matches for kind "StatefulSet" in version "apps/v1beta2"; write apps/v1'),
        ("batch/v1beta1", "CronJob", 'no matches for kind "CronJob" in version "batch/v1beta1"; write batch/v1'),
        (
            "networking.k8s.io/v1beta1",
            "Ingress",
            'no matches for kind "Ingress" in version "networking.k8s.io/v1beta1"; write networking.k8s.io/v1',
        ),
        (
            "autoscaling/v2beta2",
            "HorizontalPodAutoscaler",
            'no matches for kind "HorizontalPodAutoscaler" in version "autoscaling/v2beta2"; write autoscaling/v2',
        ),
        ("policy/v1beta1", "PodSecurityPolicy", 'no matches for kind "PodSecurityPolicy" in version "policy/v1beta1"'),
        ("v1", "Namespce", 'no matches for kind "Namespce" in version "v1"; did you mean Namespace?'),
        ("apps/v1", "Ingress", 'no matches for kind "Ingress" in version "apps/v1"; write networking.k8s.io/v1'),
        ("nslab/v1", "Pod", 'no matches for kind "Pod" in version "nslab/v1"; write v1'),
        ("v1", "Lab", 'no matches for kind "Lab" in version "v1"; write nslab/v1'),
    ],
)  # fmt: skip
def test_kinds_that_are_not_there(version: str, kind: str, sentence: str) -> None:
    place = "2:7" if "write" not in sentence else "1:13"
    assert output(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n") == [f"{place}: {sentence}"]


def test_every_kind_that_there_is_can_be_read() -> None:
    assert len(schema.kinds()) > 70
    for version, kind in schema.kinds():
        shape = schema.shape_of(version, kind)
        value = {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}}
        assert [one.path for one in schema.check(value, shape)] in ([], [()], [()] * 2), kind


def test_problems_of_a_kept_kind_have_their_places() -> None:
    text = "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: i, lables: {a: b}}\n"
    text += "spec:\n  rules:\n  - http:\n      paths:\n"
    text += "      - {path: /, backend: {service: {name: web, port: {numbr: 80}}}}\n"
    assert output(text) == [
        "3:21: unknown field metadata.lables; did you mean labels?",
        "8:9: spec.rules[0].http.paths[0].pathType is missing",
        "8:57: unknown field spec.rules[0].http.paths[0].backend.service.port.numbr; did you mean number?",
    ]
    assert output("apiVersion: v1\nkind: Secret\n") == ["1:1: metadata is missing"]
    assert output("apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {}\n") == [
        "3:11: metadata.name is missing"
    ]


WHOLE = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: c, namespace: shop}
spec: {anything: [1, {a: 2024-01-01}]}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Service
  metadata: {name: web, finalizers: [a/b], creationTimestamp: 2024-01-01T00:00:00Z}
  spec: {ports: [{port: 80, appProtocol: http}], trafficDistribution: PreferClose}
- apiVersion: v1
  kind: Pod
  metadata: {name: p, annotations: {a: "1"}}
  spec:
    terminationGracePeriodSeconds: 5
    volumes: [{name: v, emptyDir: {}}]
    containers:
    - {name: c, image: agnhost, imagePullPolicy: Always, volumeMounts: [{name: v, mountPath: /v}], env: [{name: A}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, generation: 3}
spec:
  revisionHistoryLimit: 1
  selector: {matchLabels: {a: b}}
  template:
    metadata: {labels: {a: b}}
    spec:
      volumes: [{name: v, configMap: {name: cm, defaultMode: 0644}}]
      containers: [{name: c, image: agnhost, lifecycle: {preStop: {sleep: {seconds: 1}}}}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: n}
spec: {podSelector: {}}
"""


def whole() -> tuple[Lab, list[str]]:
    lab, notes = parse_with_warnings(LAB + WHOLE, "f")
    return lab, [str(note).removeprefix("f:") for note in notes]


def test_what_nslab_does_not_act_on_is_kept_whole() -> None:
    lab, _ = whole()
    for each in (lab, parse_stored(dump(lab), "kept")):
        assert [(one.kind, one.namespace, one.name) for one in each.others] == [
            ("Namespace", "", "shop"),
            ("Certificate", "shop", "c"),
            ("NetworkPolicy", "default", "n"),
        ]
        assert each.others[1].document["spec"] == {"anything": [1, {"a": "2024-01-01"}]}
        (service,) = each.services
        assert service.document["metadata"]["finalizers"] == ["a/b"]
        assert "creationTimestamp" not in service.document["metadata"], "a server says that"
        assert service.document["spec"]["ports"][0]["appProtocol"] == "http"
        pod, replica = each.pods
        assert pod.document["spec"]["terminationGracePeriodSeconds"] == 5
        assert pod.document["spec"]["containers"][0]["volumeMounts"] == [{"name": "v", "mountPath": "/v"}]
        assert replica.document["spec"]["volumes"][0]["configMap"]["defaultMode"] == 0o644
        assert each.controllers[0].document["spec"]["revisionHistoryLimit"] == 1
    assert parse_stored(dump(lab), "kept") == lab


def test_it_is_named_once_where_it_would_change_what_is_seen() -> None:
    (line,) = whole()[1]
    assert sorted(line.removeprefix("kept, not acted on: ").split(", ")) == [
        "1 Certificate.cert-manager.io",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "document",
    [
        "kind: Pod\nmetadata: {name: x}\nspec:\n" + "".join(f"  field{n}: 1\n" for n in range(20_000)),
        "kind: ConfigMap\nmetadata:\n  name: x\n  labels:\n" + "".join(f"    'a {n}': b\n" for n in range(20_000)),
        "kind: ConfigMap\nmetadata: {name: x}\ndata:\n" + "  a: b\n" * 20_000,
        "kind: List\nitems:\n"
        + "".join(
            f"- {{apiVersion: v1, kind: Secret, metadata: {{name: s{n}}}, data: {{a: 1}}}}\n" for n in range(5000)
        ),
        "kind: Podd\n" + "---\napiVersion: v1\nkind: Podd\n" * 5000,
    ],
    ids=["fields", "labels", "twice", "items", "kinds"],
)
def test_thousands_of_problems_are_told_in_seconds(document: str) -> None:
    started = time.process_time()
    assert len(output(f"apiVersion: v1\n{document}")) >= 5000
    assert time.process_time() - started < 6


def test_what_a_document_is_called_can_be_printed() -> None:
    text = 'apiVersion: "x.io/v1\\e[31m"\nkind: "B\\e[31m"\nmetadata: {name: "../\\e[31m", namespace: "\\u202e"}\n'
    wrong = output(text)
    assert [line.partition(" ")[0] for line in wrong] == ["1:13:", "2:7:", "3:18:", "3:42:"]
    assert all(line.isprintable() for line in wrong)
    assert len(output("apiVersion: x.io/v1\nkind: A\nmetadata: {name: x}\na: &a {b: *a}\n")) == 1


def test_what_is_in_no_file_is_told_without_one() -> None:
    value = {"metadata": {"name": 7, "labels": {"a": True}}, "spec": {"containers": [None], "hostNetwork": "x"}}
    found = schema.check(value | {"apiVersion": "v1", "kind": "Pod"}, schema.shape_of("v1", "Pod"))
    assert [sentence(one) for one in found] == [
        'metadata.name: 7 is a number in YAML, and text is needed; write "7"',
        'metadata.labels.a: true is a boolean in YAML, and text is needed; write "true"',
        "spec.containers[0] must be a mapping, and this is nothing (null)",
        'spec.hostNetwork must be true or false, and this is the text "x"',
    ]
