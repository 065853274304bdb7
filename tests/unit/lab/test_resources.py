"""`nslab get`: a lab's objects by kubectl's words, whole."""

from __future__ import annotations

import pytest

from nslab.admission.load import parse
from nslab.errors import UsageError
from nslab.lab.dump import documents
from nslab.lab.resources import meant
from nslab.lab.selection import matching, resource, selected

LAB = parse(
    """
apiVersion: nslab/v1
kind: Lab
metadata: {name: some}
spec: {nodes: [{name: node1, address: 192.168.59.22}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}, annotations: {team: red}}
spec: {containers: [{name: app, image: nginx, command: [sleep, infinity]}], priorityClassName: high}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: quiet}
spec: {podSelector: {}}
""",
    "some.yaml",
)


THERE = [one.value for one in documents(LAB).objects()]


def names(*words: str, namespace: str = "") -> list[str]:
    found = [one for one in selected(THERE, words, namespace) if one["metadata"].get("namespace") != "kube-system"]
    return [f"{one['kind']} {one['metadata']['namespace']}/{one['metadata']['name']}" for one in found]


@pytest.mark.parametrize("word", ["pods", "pod", "po", "Pods"])
def test_a_kind_by_any_word_of_kubectls(word: str) -> None:
    assert names(word) == ["Pod default/web"]


@pytest.mark.parametrize(
    ("word", "resource"),
    [
        ("po", "pod"),
        ("deploy.apps", "deployment.apps"),
        ("Deployments.v1.apps", "deployment.apps"),
        ("pods.v1", "pod"),
        ("cm", "configmap"),
        ("endpoints", "endpoints"),
        ("events", "event"),
        ("services", "service"),
        ("services.serving.knative.dev", "service.serving.knative.dev"),
        ("service.v1.serving.knative.dev", "service.serving.knative.dev"),
        ("widgets", "widget.example.com"),
    ],
)
def test_the_resource_that_a_word_means(word: str, resource: str) -> None:
    assert meant(["service.serving.knative.dev", "widget.example.com", "deployment.apps"], word) == resource


@pytest.mark.parametrize("word", ["", ".", ".apps", "pods.apps", "pods.example.com", "gadgets"])
def test_a_word_that_means_no_resource(word: str) -> None:
    with pytest.raises(UsageError, match="the server doesn't have a resource type"):
        meant(["widget.example.com"], word)


def test_a_kind_of_another_group_is_not_kubernetes_own() -> None:
    foreign = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": {"name": "web"}}
    there = [*THERE, foreign]
    assert foreign not in selected(there, ["svc"])
    assert selected(there, ["services.serving.knative.dev"]) == [foreign]


def test_several_kinds_and_all_of_them() -> None:
    assert names("svc,netpol") == ["Service shop/web", "NetworkPolicy default/quiet"]
    assert names("all") == ["Pod default/web", "Service shop/web"]
    assert names("all", namespace="shop") == ["Service shop/web"]
    assert names("cronjobs") == []


def test_objects_by_name() -> None:
    assert names("networkpolicy/quiet", "pod/web") == ["NetworkPolicy default/quiet", "Pod default/web"]
    assert names("svc", "web", namespace="shop") == ["Service shop/web"]
    assert [resource(one) for one in selected(THERE, ["netpol"])] == ["networkpolicy.networking.k8s.io"]


def test_what_nslab_does_not_act_on_is_there() -> None:
    (pod,) = selected(THERE, ["pod/web"])
    assert pod["spec"]["priorityClassName"] == "high"
    assert pod["metadata"]["annotations"] == {"team": "red"}


@pytest.mark.parametrize(
    ("selector", "found"),
    [("app=web", 1), ("app==web", 1), ("app!=web", 1), ("app", 1), ("!app", 1), ("app=web,tier=x", 0), ("", 2)],
)
def test_labels_select(selector: str, found: int) -> None:
    some = [{"metadata": {"labels": {"app": "web"}}}, {"metadata": {}}]
    assert len(matching(some, selector)) == found


@pytest.mark.parametrize(
    ("words", "output"),
    [
        (("pod/nope",), 'Error from server (NotFound): pods "nope" not found'),
        (("deploy/nope",), 'Error from server (NotFound): deployments.apps "nope" not found'),
        (("foo",), 'error: the server doesn\'t have a resource type "foo"'),
        (("svc/web",), 'Error from server (NotFound): services "web" not found'),
        (("pod/a/b",), "arguments in resource/name form"),
    ],
)
def test_what_is_not_there_is_said_as_kubectl_says_it(words: tuple[str, ...], output: str) -> None:
    with pytest.raises(UsageError) as error:
        selected(THERE, words)
    assert output in str(error.value)
