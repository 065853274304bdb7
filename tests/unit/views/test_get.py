"""What `get` and `describe` show of a running lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nslab.admission.load import parse
from nslab.api import tables
from nslab.api.duration import duration
from nslab.api.pod_status import pod_status
from nslab.compiler.placement import assign_addresses
from nslab.lab.selection import behind, selected
from nslab.lab.types import ZONE
from nslab.views.describe import describe
from nslab.views.listing import Listing
from nslab.views.live import Live, objects
from nslab.views.pods import live_pod
from tests.unit.views.twonodes import TWO_NODES

if TYPE_CHECKING:
    from nslab.lab.types import Lab

NOW = 1_700_000_000.0
TEXT = (
    TWO_NODES
    + """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: c, image: nginx, ports: [{containerPort: 80}], readinessProbe: {httpGet: {port: 80, path: /ok}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, clusterIP: 10.96.1.1, selector: {app: web}, ports: [{name: http, port: 80, nodePort: 30080}]}
---
apiVersion: v1
kind: Secret
metadata: {name: s}
data: {password: c2VjcmV0}
"""
)
LAB = assign_addresses(parse(TEXT, "lab.yaml"))
RUNNING = {"state": "running", "ready": True, "restarts": 0, "reason": "", "started": NOW - 300}
WAITING = {
    "state": "waiting", "ready": False, "restarts": 3, "reason": "CrashLoopBackOff", "message": "",
    "last": {"reason": "Error", "exit_code": 1, "finished": NOW - 60}, "finished": NOW - 60,
}  # fmt: skip


def live(*entries: dict[str, Any], lab: Lab = LAB) -> list[dict[str, Any]]:
    """The objects of the lab, whose pods' containers are as it is said."""
    pods = {
        f"{pod.namespace}/{pod.name}": live_pod(
            pod,
            {"phase": "Running", "containers": {"c": entry}},
            ["c"] if entry["state"] == "running" else [],
            NOW - 300,
        )
        for pod, entry in zip(lab.pods, entries, strict=True)
    }
    return objects(lab, Live(pods, frozenset({"n1"}), NOW - 400))


def listed(there: list[dict[str, Any]], *words: str, wide: bool = False) -> list[str]:
    return Listing(wide=wide).text(selected(there, words, "default"), NOW).splitlines()


def test_pods_in_kubectls_columns() -> None:
    head, *rows = listed(live(RUNNING, WAITING), "pods")
    assert head.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert sorted(" ".join(row.split()[1:]) for row in rows) == [
        "0/1 CrashLoopBackOff 3 (60s ago) 5m",
        "1/1 Running 0 5m",
    ]


def test_a_deployment_its_replica_set_and_its_endpoints_follow_its_pods() -> None:
    there = live(RUNNING, WAITING)
    assert listed(there, "deploy")[1].split() == ["web", "1/2", "2", "1", "6m40s"]
    assert listed(there, "rs")[1].split()[1:] == ["2", "2", "1", "6m40s"]
    (ready,) = [pod.assigned for pod in LAB.pods if f"web-{pod.name}" and pod.name == LAB.pods[0].name]
    assert listed(there, "endpoints")[1].split()[:2] == ["web", f"{ready}:80"]
    assert listed(live(WAITING, WAITING), "ep")[1].split()[:2] == ["web", "<none>"]


def test_a_slice_shows_the_hints_for_what_is_ready() -> None:
    zoned = TEXT.replace("{name: n1}, {name: n2}", ", ".join(f"{{name: n{z}, labels: {{{ZONE}: z{z}}}}}" for z in "12"))
    auto = zoned.replace("metadata: {name: web}\nspec: {type", "metadata: {name: web, annotations: AUTO}\nspec: {type")
    text = auto.replace("AUTO", "{service.kubernetes.io/topology-mode: Auto}")
    lab = assign_addresses(parse(text, "lab.yaml"))
    for second, hinted in ((RUNNING, [["z1"], ["z2"]]), (WAITING, [[], []])):
        (one,) = (each for each in live(RUNNING, second, lab=lab) if each["kind"] == "EndpointSlice")
        zones = [[each["name"] for each in end.get("hints", {}).get("forZones", ())] for end in one["endpoints"]]
        assert zones == hinted
        assert [end["conditions"]["ready"] for end in one["endpoints"]] == [True, second is RUNNING]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_finished_pod_is_no_endpoint_and_none_of_its_nodes_pods(phase: str) -> None:
    pods = {
        f"{pod.namespace}/{pod.name}": live_pod(pod, {"phase": state, "containers": {"c": RUNNING}}, ["c"], NOW - 300)
        for pod, state in zip(LAB.pods, (phase, "Running"), strict=True)
    }
    there = objects(LAB, Live(pods, frozenset({"n1", "n2"}), NOW - 400))
    (runs,) = (str(pod.assigned) for pod in LAB.pods[1:])
    assert listed(there, "endpointslices")[1].split()[3] == runs
    assert listed(there, "endpoints")[1].split()[1] == f"{runs}:80"
    shown = [describe(node, there, NOW) for node in selected(there, ["nodes"])]
    assert sorted("(1 in total)" in one for one in shown) == [False, True]


def test_a_selector_is_shown_whole() -> None:
    expressions = "{matchExpressions: [{key: app, operator: In, values: [web]}, {key: old, operator: DoesNotExist}]}"
    lab = assign_addresses(parse(TEXT.replace("{matchLabels: {app: web}}", expressions), "lab.yaml"))
    there = live(RUNNING, RUNNING, lab=lab)
    assert listed(there, "deploy", wide=True)[1].endswith("  app in (web),!old")
    hashed = lab.pods[0].name.split("-")[1]
    assert listed(there, "rs", wide=True)[1].endswith(f"  app in (web),!old,pod-template-hash={hashed}")
    assert "app in (web),!old\n" in describe(selected(there, ["deploy/web"])[0], there, NOW)


def test_a_service_is_described_in_kubectls_lines_and_order() -> None:
    there = live(RUNNING, RUNNING)
    lines = dict(line.split(":", 1) for line in describe(selected(there, ["svc/web"])[0], there, NOW).splitlines())
    assert [*lines] == [
        "Name", "Namespace", "Labels", "Annotations", "Selector", "Type", "IP Family Policy", "IP Families", "IP",
        "IPs", "Port", "TargetPort", "NodePort", "Endpoints", "Session Affinity", "External Traffic Policy",
        "Internal Traffic Policy", "Events",
    ]  # fmt: skip
    wanted = {"IP Family Policy": "SingleStack", "IP Families": "IPv4", "IPs": "10.96.1.1", "Session Affinity": "None"}
    assert wanted.items() <= {name: value.strip() for name, value in lines.items()}.items()


def test_services_nodes_and_what_is_kept() -> None:
    there = live(RUNNING, RUNNING)
    assert listed(there, "svc")[1].split() == ["web", "NodePort", "10.96.1.1", "<none>", "80:30080/TCP", "6m40s"]
    assert [" ".join(row.split()[:2]) for row in listed(there, "nodes")[1:]] == ["n1 Ready", "n2 NotReady"]
    assert listed(there, "nodes", wide=True)[0].split()[-2:] == ["KERNEL-VERSION", "CONTAINER-RUNTIME"]
    assert listed(there, "secrets")[1].split()[:3] == ["s", "Opaque", "1"]


def test_nodes_have_the_labels_by_which_pods_are_placed() -> None:
    there = [one["metadata"]["labels"] for one in live(RUNNING, RUNNING) if one["kind"] == "Node"]
    assert [one["kubernetes.io/hostname"] for one in there] == ["n1", "n2"]
    assert all(one["beta.kubernetes.io/os"] == one["kubernetes.io/os"] == "linux" for one in there)
    assert all(one["beta.kubernetes.io/arch"] == one["kubernetes.io/arch"] for one in there)


def test_several_kinds_name_their_resource() -> None:
    lines = listed(live(RUNNING, RUNNING), "svc,deploy")
    assert [line.split()[0] for line in lines if line] == ["NAME", "service/web", "NAME", "deployment.apps/web"]


def test_a_watch_prints_what_changes() -> None:
    listing = Listing()
    listing.text(selected(live(RUNNING, RUNNING), ["pods"], "default"), NOW)
    assert listing.changed(selected(live(RUNNING, RUNNING), ["pods"], "default"), NOW + 9) == []
    (line,) = listing.changed(selected(live(WAITING, RUNNING), ["pods"], "default"), NOW + 9)
    assert line.split()[:3] == [LAB.pods[0].name, "0/1", "CrashLoopBackOff"]


@pytest.mark.parametrize("headers", [True, False])
def test_what_a_watch_prints_stands_in_the_columns_of_its_table(headers: bool) -> None:
    listing = Listing(headers=headers)
    before = listing.text(selected(live(RUNNING, RUNNING), ["pods"], "default"), NOW).splitlines()[-1]
    (line,) = listing.changed(selected(live(RUNNING, {**RUNNING, "ready": False}), ["pods"], "default"), NOW)
    assert line == before.replace("1/1", "0/1")


@pytest.mark.parametrize("headers", [True, False])
def test_a_watch_that_begins_with_nothing_prints_the_heads_with_the_first_row(headers: bool) -> None:
    found = selected(live(RUNNING, RUNNING), ["pods"], "default")
    listing = Listing(headers=headers)
    assert listing.text([], NOW) == ""
    assert listing.changed(found, NOW) == Listing(headers=headers).text(found, NOW).splitlines()


def test_describe_a_service_and_a_pod() -> None:
    there = live(RUNNING, WAITING)
    service = describe(selected(there, ["svc/web"])[0], there, NOW)
    assert f"Endpoints:                {LAB.pods[0].assigned}:80\n" in service
    assert "NodePort:                 http  30080/TCP\n" in service
    pod = describe(selected(there, [f"pod/{LAB.pods[1].name}"])[0], there, NOW)
    assert "Readiness:      http-get http://:80/ok delay=0s timeout=1s period=10s #success=1 #failure=3" in pod
    assert "Controlled By:      ReplicaSet/web-" in pod
    deployment = describe(selected(there, ["deploy/web"])[0], there, NOW)
    assert f"{LAB.pods[1].name} (CrashLoopBackOff)" in deployment


@pytest.mark.parametrize("word", ["deploy/web", "svc/web", "rs"])
def test_behind_a_controller_and_a_service_are_its_pods_the_ready_ones_first(word: str) -> None:
    there = live(WAITING, RUNNING)
    found = behind(selected(there, [word], "default")[0], there)
    assert [one["metadata"]["name"] for one in found] == [LAB.pods[1].name, LAB.pods[0].name]


def test_behind_a_pod_is_itself_and_behind_a_service_without_selector_nothing() -> None:
    there = live(RUNNING, RUNNING)
    pod = selected(there, ["pods"], "default")[0]
    assert behind(pod, there) == [pod]
    assert behind({"kind": "Service", "metadata": {"name": "s", "namespace": "default"}, "spec": {}}, there) == []


def test_describe_a_job_says_why_it_failed() -> None:
    failed = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "it has reached it"}
    job = {
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "default"},
        "spec": {"backoffLimit": 1, "template": {}}, "status": {"failed": 2, "conditions": [failed]},
    }  # fmt: skip
    lines = [" ".join(line.split()) for line in describe(job, [job], NOW).splitlines()]
    assert "Backoff Limit: 1" in lines
    assert "Pods Statuses: 0 Active / 0 Succeeded / 2 Failed" in lines
    assert "Failed True BackoffLimitExceeded it has reached it" in lines


def test_describe_a_networkpolicy_in_kubectls_words() -> None:
    app = {"podSelector": {"matchLabels": {"app": "web"}}}
    block = {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16", "10.2.0.0/16"]}}
    ports = [{"port": "http", "protocol": "TCP"}, {"port": 80, "endPort": 90, "protocol": "UDP"}]
    ingress = [{"from": [{"namespaceSelector": {}, **app}, block], "ports": ports}, {}]
    spec = {**app, "policyTypes": ["Ingress", "Egress"], "ingress": ingress}
    policy = {"kind": "NetworkPolicy", "metadata": {"name": "p", "namespace": "default"}, "spec": spec}
    text = describe(policy, [policy], NOW)
    assert text[text.index("Spec:") : text.index("Events:")].splitlines() == [
        "Spec:",
        "  PodSelector:     app=web",
        "  Allowing ingress traffic:",
        "    To Port: http/TCP",
        "    To Port Range: 80-90/UDP",
        "    From:",
        "      NamespaceSelector: <none>",
        "      PodSelector: app=web",
        "    From:",
        "      IPBlock:",
        "        CIDR: 10.0.0.0/8",
        "        Except: 10.1.0.0/16, 10.2.0.0/16",
        "    ----------",
        "    To Port: <any> (traffic allowed to all ports)",
        "    From: <any> (traffic not restricted by source)",
        "  Allowing egress traffic:",
        "    <none> (Selected pods are isolated for egress connectivity)",
        "  Policy Types: Ingress, Egress",
    ]
    spec.update(podSelector={}, policyTypes=["Egress"])
    text = describe(policy, [policy], NOW)
    assert "PodSelector:     <none> (Allowing the specific traffic to all pods in this namespace)\n" in text
    assert "  Not affecting ingress traffic\n" in text


def test_describe_does_not_show_secrets() -> None:
    there = live(RUNNING, RUNNING)
    text = describe(selected(there, ["secret/s"])[0], there, NOW)
    assert "8 bytes" in text
    assert "c2VjcmV0" not in text


@pytest.mark.parametrize(
    ("status", "word"),
    [
        ({"phase": "Pending"}, "Pending"),
        ({"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        ({"initContainerStatuses": [{"state": {"running": {}}}]}, "Init:0/2"),
        ({"initContainerStatuses": [{"state": {"terminated": {"exitCode": 3}}}]}, "Init:ExitCode:3"),
        ({"initContainerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}, "Init:CrashLoopBackOff"),
        ({"containerStatuses": [{"state": {"terminated": {"signal": 9}}}]}, "Signal:9"),
        (
            {"containerStatuses": [{"ready": True, "state": {"running": {}}},
                                   {"state": {"terminated": {"reason": "Completed"}}}]},
            "NotReady",
        ),
    ],
)  # fmt: skip
def test_a_pods_status_in_one_word(status: dict[str, Any], word: str) -> None:
    assert pod_status({"metadata": {}, "spec": {"initContainers": [{}, {}]}, "status": status}) == word


@pytest.mark.parametrize(
    ("phase", "word"), [("Running", "Terminating"), ("Pending", "Terminating"), ("Succeeded", "Succeeded")]
)
def test_a_deleted_pod_is_terminating_unless_it_has_finished(phase: str, word: str) -> None:
    assert pod_status({"metadata": {"deletionTimestamp": "x"}, "spec": {}, "status": {"phase": phase}}) == word


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (119, "119s"), (125, "2m5s"), (700, "11m"), (11000, "3h3m"), (90000, "25h"), (200000, "2d7h"),
     (9e6, "104d")],
)  # fmt: skip
def test_ages(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_nothing_of_an_object_is_obeyed_by_a_terminal() -> None:
    one = {"kind": "ConfigMap", "metadata": {"name": "a\x1b[2Jb", "namespace": "default"}}
    assert "\x1b" not in Listing().text([one], NOW)
    assert tables.row(one, NOW)["DATA"] == "0"
