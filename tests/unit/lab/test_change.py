"""apply, delete and scale, as kubectl does them, and in its words."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from itertools import permutations
from typing import TYPE_CHECKING

import pytest

from nslab.admission.change import applied, applied_with_warnings, deleted, scaled
from nslab.admission.load import parse, parse_stored
from nslab.errors import LabFileError, UsageError
from nslab.lab.dump import dump
from nslab.lab.status import merge_status

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.lab.types import Lab

FILE = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: small}
spec:
  dns: {address: 10.96.0.10}
  nodes: [{name: a}, {name: b}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 31080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: agnhost}]}
---
apiVersion: v1
kind: Pod
metadata: {name: p}
spec: {nodeName: b, containers: [{name: app, image: agnhost}]}
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {{name: {}}}\nspec: {{{}}}\n"


def running() -> Lab:
    """A lab as it is kept while it runs: every pod has its address."""
    lab = parse(FILE, "x")
    nodes = {node.name: node.pod_cidr for node in lab.nodes}
    pods = (replace(pod, assigned=nodes[pod.node][number + 2]) for number, pod in enumerate(lab.pods))
    return parse_stored(dump(replace(lab, pods=tuple(pods))), "kept")


def document(kind: str) -> str:
    """One document of the file."""
    return next(each for each in FILE.split("---\n") if f"kind: {kind}\n" in each)


def test_nothing_changes_where_nothing_is_new() -> None:
    lab = running()
    made, lines = applied(lab, FILE.partition("---\n")[2])
    assert made == lab
    assert lines == ("service/web unchanged", "deployment.apps/web unchanged", "pod/p unchanged")


def test_what_was_given_out_stays() -> None:
    lab = running()
    changed = document("Service").replace("nodePort: 31080", "name: http")
    made, lines = applied(lab, changed + "---\n" + SERVICE.format("new", "ports: [{port: 1}]"))
    assert lines == ("service/web configured", "service/new created")
    assert [one.name for one in made.services] == ["web", "kube-dns", "new"]
    assert made.services[0].cluster_ip == lab.services[0].cluster_ip
    assert made.services[0].ports[0].node_port == 31080
    assert made.pods == lab.pods


def test_a_new_template_has_new_replicas() -> None:
    lab = running()
    made, lines = applied(lab, document("Deployment").replace("image: agnhost", "command: [x]"))
    assert lines == ("deployment.apps/web configured",)
    mine = [pod for pod in made.pods if pod.owner]
    assert len(mine) == 3
    assert not {pod.name for pod in mine} & {pod.name for pod in lab.pods}
    assert [pod.name for pod in made.pods if not pod.owner] == ["p", "kube-dns"]


def test_an_applied_pod_stays_where_it_is() -> None:
    lab = running()
    made, lines = applied(lab, document("Pod").replace("nodeName: b, ", "").replace("agnhost", "agnhost:2.53"))
    assert lines == ("pod/p configured",)
    assert [(pod.node, pod.assigned) for pod in made.pods] == [(pod.node, pod.assigned) for pod in lab.pods]


def test_a_file_has_its_problems_at_their_places(tmp_path: Path) -> None:
    lab, file = running(), tmp_path / "more.yaml"
    ip = lab.services[0].cluster_ip
    file.write_text(
        SERVICE.format("one", "type: NodePort, ports: [{port: 80, nodePort: 31080}]")
        + "---\n"
        + SERVICE.format("two", f"clusterIP: {ip}, ports: [{{port: 80, prot: TCP}}]")
    )
    with pytest.raises(LabFileError) as caught:
        applied(lab, file)
    taken = f"failed to allocate IP {ip}: provided IP is already allocated"
    port = "provided port is already allocated"
    assert [str(problem).removeprefix(f"{file}:") for problem in caught.value.errors] == [
        f'4:53: The Service "one" is invalid: spec.ports[0].nodePort: Invalid value: 31080: {port}',
        f'9:19: The Service "two" is invalid: spec.clusterIPs: Invalid value: ["{ip}"]: {taken}',
        f"9:{40 + len(str(ip))}: unknown field spec.ports[0].prot; did you mean port?",
    ]


def test_a_service_becomes_one_of_any_other_type() -> None:
    lab, ports = running(), "ports: [{port: 80}]"
    forms = {
        "ClusterIP": ports,
        "NodePort": f"type: NodePort, {ports}",
        "LoadBalancer": f"type: LoadBalancer, {ports}",
        "Local": f"type: LoadBalancer, externalTrafficPolicy: Local, {ports}",
        "ExternalName": "type: ExternalName, externalName: example.com",
    }
    for old, new in permutations(forms, 2):
        before, _ = applied(lab, SERVICE.format("turned", forms[old]))
        made, lines = applied(before, SERVICE.format("turned", forms[new]))
        assert lines == ("service/turned configured",)
        (had, one) = (next(s for s in some.services if s.name == "turned") for some in (before, made))
        assert (one.cluster_ip is None) == (new == "ExternalName"), (old, new)
        assert "ExternalName" in (old, new) or one.cluster_ip == had.cluster_ip
        assert all(bool(port.node_port) == (new != "ClusterIP") for port in one.ports)
        assert bool(one.load_balancer_ips) == (new in ("LoadBalancer", "Local"))
        assert bool(one.health_check_node_port) == (new == "Local")
        assert parse_stored(dump(made), "kept").services == made.services


def test_what_is_applied_and_probably_not_meant() -> None:
    lab, nowhere = running(), "selector: {app: nix}, ports: [{port: 80}]"
    made, _, warnings = applied_with_warnings(lab, SERVICE.format("lost", nowhere))
    what = "the selector of Service lost matches no pod of namespace default: app=nix"
    assert [str(warning) for warning in warnings] == [f"standard input:4:18: {what}"]
    nobody = SERVICE.format("named", "selector: {app: web}, ports: [{port: 80, targetPort: http}]")
    _, _, warnings = applied_with_warnings(made, nobody)  # of Service lost it was said
    what = "no container of the pods of Service named has a port http (TCP)"
    assert [str(warning) for warning in warnings] == [f"standard input:4:61: {what}"]


def test_what_cannot_be_applied() -> None:
    lab = running()
    with pytest.raises(LabFileError, match="a Lab document cannot be applied; `nslab up` takes the whole file"):
        applied(lab, FILE)
    with pytest.raises(LabFileError) as caught:
        applied(lab, SERVICE.format("web", "clusterIP: 10.96.1.1, ports: [{port: 80}]"))
    sentence = 'spec.clusterIPs[0]: Invalid value: ["10.96.1.1"]: may not change once set'
    assert str(caught.value) == f'standard input:4:19: The Service "web" is invalid: {sentence}'
    selector = document("Deployment").replace("app: web", "app: other")
    with pytest.raises(LabFileError, match=r"spec.selector: Invalid value: .*: field is immutable"):
        applied(lab, selector)
    with pytest.raises(LabFileError, match="standard input:4:18: there is no node c"):
        applied(lab, document("Pod").replace("nodeName: b", "nodeName: c"))


def test_delete() -> None:
    lab = running()
    made, lines = deleted(lab, ("service/web", "deploy/web"))
    assert lines == ('service "web" deleted', 'deployment.apps "web" deleted')
    assert [one.name for one in made.services] == ["kube-dns"]
    assert [pod.name for pod in made.pods] == ["p", "kube-dns"]
    assert parse_stored(dump(made), "kept") == made
    assert deleted(lab, ("svc", "web"))[0].services == made.services
    gone, _ = deleted(lab, ("service/kube-dns",), "kube-system")
    assert parse_stored(dump(gone), "kept") == gone


def test_delete_by_file(tmp_path: Path) -> None:
    lab, file = running(), tmp_path / "gone.yaml"
    file.write_text(document("Service") + "---\n" + document("Pod"))
    made, lines = deleted(lab, file)
    assert lines == ('service "web" deleted', 'pod "p" deleted')
    with pytest.raises(UsageError) as caught:
        deleted(made, file)
    where = f'Error from server (NotFound): error when deleting "{file}":'
    assert str(caught.value) == f'{where} services "web" not found\n{where} pods "p" not found'


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("service/x",), 'Error from server (NotFound): services "x" not found'),
        (("deployment", "x"), 'Error from server (NotFound): deployments.apps "x" not found'),
        (("cm/x",), 'Error from server (NotFound): configmaps "x" not found'),
        (
            ("no/a",),
            'Error from server (NotFound): nodes "a" not found (what nslab makes itself cannot be deleted)',
        ),
        (("nodd/a",), 'error: the server doesn\'t have a resource type "nodd"'),
        (("service",), "error: resource(s) were provided, but no name was specified"),
        ((), "error: resource(s) were provided, but no name was specified"),
        (
            ("service/a/b",),
            "error: arguments in resource/name form must have a single resource and name, and this is service/a/b",
        ),
    ],
)
def test_delete_what_is_not_there(words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        deleted(running(), words)
    assert str(caught.value) == sentence


def test_a_deleted_replica_has_a_successor() -> None:
    lab = running()
    mine = [pod for pod in lab.pods if pod.owner]
    made, lines = deleted(lab, (f"pod/{mine[0].name}",))
    assert lines == (f'pod "{mine[0].name}" deleted',)
    now = [pod for pod in made.pods if pod.owner]
    assert now[:-1] == mine[1:]
    new = now[-1]
    assert new.name not in {pod.name for pod in mine}
    assert new.labels == mine[0].labels, "of the same template"
    assert new.uid not in {pod.uid for pod in mine}
    assert (new.assigned, made.controllers) == (None, lab.controllers)
    assert parse_stored(dump(made), "kept") == made
    again, _ = deleted(made, (f"pod/{new.name}",))
    assert not {pod.name for pod in again.pods if pod.owner} & {mine[0].name, new.name}
    assert merge_status(parse(FILE, "x"), again).pods == again.pods, "the file knows nothing of it"


SETS = """\
---
apiVersion: apps/v1
kind: KIND
metadata: {name: s}
spec:
  selector: {matchLabels: {app: s}}
  template:
    metadata: {labels: {app: s}}
    spec: {containers: [{name: c, command: [sleep, infinity]}]}
"""


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "ReplicaSet"])
def test_a_successor_takes_the_place_of_its_predecessor(kind: str) -> None:
    lab, _ = applied(running(), SETS.replace("KIND", kind))
    (before, *others) = [pod for pod in lab.pods if pod.owner.startswith(kind)]
    made, _ = deleted(lab, ("pod", before.name))
    (after, *rest) = [pod for pod in made.pods if pod.owner.startswith(kind)]
    assert (rest, after.node) == (others, before.node)
    assert (after.name == before.name) is (kind == "StatefulSet")
    assert (after.uid == before.uid, after.assigned) == (False, None)
    kept = merge_status(made, lab)
    assert [pod.uid for pod in kept.pods if pod.name == after.name] == [after.uid], "it is another pod"
    assert parse_stored(dump(made), "kept") == made


def test_scale() -> None:
    lab = running()
    mine = [pod for pod in lab.pods if pod.owner]
    down, lines = scaled(lab, ["deployment/web"], 1)
    assert lines == ("deployment.apps/web scaled",)
    assert [pod for pod in down.pods if pod.owner] == mine[:1]
    up, _ = scaled(lab, ["deployment/web"], 5)
    more = [pod for pod in up.pods if pod.owner]
    assert more[:3] == mine
    assert [pod.assigned for pod in more[3:]] == [None, None]
    assert up.controllers[0].replicas == 5
    assert parse_stored(dump(up), "kept") == up
    assert not [pod for pod in scaled(lab, ["deploy/web"], 0)[0].pods if pod.owner]


def test_scale_takes_kind_and_names_too() -> None:
    lab, lines = scaled(running(), ["deploy", "web"], 5)
    assert (lab.controllers[0].replicas, lines) == (5, ("deployment.apps/web scaled",))
    with pytest.raises(UsageError) as caught:
        scaled(running(), ["deploy", "web", "x", "y"], 5)
    assert str(caught.value).count("not found") == 2


def test_scale_what_cannot_be_scaled() -> None:
    lab = running()
    for what, number, sentence in (
        ("deployment/x", 1, 'Error from server (NotFound): deployments.apps "x" not found'),
        ("service/web", 1, "Error from server (NotFound): the server could not find the requested resource"),
        ("deployment/web", -1, "error: The --replicas=COUNT flag is required"),
        ("deployment/web", 1000, "deployment/web:1:1: a has"),
    ):
        with pytest.raises(UsageError) as caught:
            scaled(lab, [what], number)
        assert str(caught.value).startswith(sentence)


def test_an_applied_address_is_nobody_elses() -> None:
    lab = running()
    made, _ = applied(lab, SERVICE.format("new", "clusterIP: 10.96.77.7, ports: [{port: 1}]"))
    assert made.services[-1].cluster_ip == IPv4Address("10.96.77.7")


KEPT = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: b}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: default}
spec: {podSelector: {}}
---
apiVersion: v1
kind: Namespace
metadata: {name: shop}
"""


def test_what_nslab_does_not_act_on_is_kept_all_the_same() -> None:
    made, lines = applied(running(), KEPT)
    assert lines == (
        "configmap/settings created",
        "networkpolicy.networking.k8s.io/deny created",
        "namespace/shop created",
    )
    again, lines = applied(made, KEPT.replace("a: b", "a: c"))
    assert [line.rpartition(" ")[2] for line in lines] == ["configured", "unchanged", "unchanged"]
    assert again.others[0].document["data"] == {"a": "c"}
    assert parse_stored(dump(again), "kept").others[0].document == again.others[0].document
    left, lines = deleted(again, ("netpol/deny", "ns/shop"))
    assert lines == ('networkpolicy.networking.k8s.io "deny" deleted', 'namespace "shop" deleted')
    assert [one.kind for one in left.others] == ["ConfigMap"]
    assert deleted(left, ("cm/settings",))[1] == ('configmap "settings" deleted',)


def test_a_field_that_nslab_does_not_act_on_makes_a_difference_all_the_same() -> None:
    lab = running()
    changed = document("Service").replace("spec: {", "spec: {internalTrafficPolicy: Cluster, ")
    assert applied(lab, changed)[1] == ("service/web unchanged",), "the default says the same"
    made, lines = applied(lab, changed.replace("{internal", "{loadBalancerClass: example.org/lb, internal"))
    assert lines == ("service/web configured",)
    assert made.services == lab.services
    assert made.services[0].document["spec"]["loadBalancerClass"] == "example.org/lb"
