"""Objects without a Lab, and what comes from another cluster."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from nslab.admission.change import applied, scaled
from nslab.admission.load import load, load_with_warnings, parse, parse_stored, parse_with_warnings
from nslab.admission.manifest import parse_manifest
from nslab.compiler.endpoints import resolve
from nslab.compiler.placement import assign_addresses
from nslab.errors import LabFileError
from nslab.lab.dump import dump
from nslab.runtime.health_check import HealthCheck

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.api.pod_types import Container

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: c, image: "nginx:1.25", ports: [{containerPort: 80}]}]}
"""
POD = "apiVersion: v1\nkind: Pod\nmetadata: {{name: {0}}}\nspec: {{containers: [{{name: c, image: nginx}}]{1}}}\n"


def controller(kind: str, name: str, more: str = "", version: str = "apps/v1", policy: str = "Always") -> str:
    selector = "" if kind == "Job" else "selector: {matchLabels: {a: b}}, "
    template = (
        f"{{metadata: {{labels: {{a: b}}}}, spec: {{restartPolicy: {policy}, containers: [{{name: c, image: x}}]}}}}"
    )
    spec = f"{{{selector}{more}template: {template}}}"
    return f"---\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n"


def selecting(kind: str, selector: str) -> str:
    """The problems of a controller with a selector; its pods have the label app=web."""
    version, policy = ("batch/v1", "Never") if kind == "Job" else ("apps/v1", "Always")
    pod = f"{{restartPolicy: {policy}, containers: [{{name: c, image: x}}]}}"
    template = f"{{metadata: {{labels: {{app: web}}}}, spec: {pod}}}"
    spec = f"{{selector: {selector}, template: {template}}}"
    try:
        parse(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n", "f")
    except LabFileError as wrong:
        return str(wrong)
    return ""


@pytest.mark.parametrize("kind", ["Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"])
def test_each_controller_selects_by_expressions(kind: str) -> None:
    assert not selecting(kind, "{matchExpressions: [{key: app, operator: In, values: [web, api]}]}")
    other = selecting(kind, "{matchLabels: {app: web}, matchExpressions: [{key: app, operator: NotIn, values: [web]}]}")
    assert 'Invalid value: {"app":"web"}: `selector` does not match template `labels`' in other
    assert "not a valid selector operator" in selecting(
        kind, "{matchExpressions: [{key: app, operator: Gt, values: [a]}]}"
    )
    empty = "deployment" if kind == "ReplicaSet" else kind.lower()
    assert f"spec.selector: Invalid value: {{}}: empty selector is invalid for {empty}" in selecting(kind, "{}")


def test_a_template_has_containers() -> None:
    with pytest.raises(LabFileError) as wrong:
        parse(DEPLOYMENT.partition("    spec: {cont")[0], "f")
    (one,) = wrong.value.errors
    assert one.sentence == 'The Deployment "web" is invalid: spec.template.spec.containers: Required value'


def test_the_api_server_selects_the_pods_of_a_job() -> None:
    assert not selecting("Job", "{matchLabels: {batch.kubernetes.io/controller-uid: 5b8e}}")
    text = 'Invalid value: {"matchLabels":{"app":"web"}}: `selector` not auto-generated'
    assert f'The Job "a" is invalid: spec.selector: {text}' in selecting("Job", "{matchLabels: {app: web}}")
    assert not selecting("Job", "{matchLabels: {app: web}}, manualSelector: true")
    assert "`selector` does not match" in selecting("Job", "{matchLabels: {app: api}}, manualSelector: true")


def test_objects_alone_are_a_lab_named_after_their_file(tmp_path: Path) -> None:
    file = tmp_path / "My App_v2.yaml"
    file.write_text(DEPLOYMENT)
    lab = load(file)
    assert lab.name == "my-app-v2"
    assert [node.name for node in lab.nodes] == ["node1", "node2"]
    assert [client.name for client in lab.clients] == ["client"]
    assert str(lab.dns_address) == "10.96.0.10"
    assert parse_stored(dump(lab), "kept") == lab


def test_a_stored_lab_is_read_as_one_by_any_reader() -> None:
    kept = dump(parse(DEPLOYMENT, "x.yaml"))
    assert parse(kept, "lab.yaml") == parse_stored(kept, "lab.yaml") == parse(DEPLOYMENT, "x.yaml")


def test_nodes_that_pods_name_are_its_nodes() -> None:
    lab = parse(POD.format("a", ", nodeName: minikube") + "---\n" + POD.format("b", ""), "x.yaml")
    assert [node.name for node in lab.nodes] == ["minikube", "node1"]


def test_a_folder_is_all_its_manifests_and_each_error_names_its_file(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "a.yaml").write_text(DEPLOYMENT)
    (folder / "b.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}}')
    (folder / "notes.txt").write_text("no manifest")
    lab = load(folder)
    assert (lab.name, [pod.owner for pod in lab.pods if pod.owner]) == ("shop", ["Deployment/default/web"])
    assert [one.kind for one in lab.others] == ["ConfigMap"]
    (folder / "c.yml").write_text(f"# two\n---\n{DEPLOYMENT.replace('selector', 'selektor')}")
    with pytest.raises(LabFileError) as wrong:
        load(folder)
    assert f"{folder}/c.yml:7:3: unknown field spec.selektor; did you mean selector?" in str(wrong.value)
    (folder / "c.yml").write_text(DEPLOYMENT)
    with pytest.raises(LabFileError) as twice:
        load(folder)
    assert str(twice.value).startswith(
        f'{folder}/c.yml:3:18: The Deployment "web" is invalid: metadata.name: Duplicate value: "web"'
    )


def test_what_kubectl_prints_comes_up_without_what_the_server_said() -> None:
    text = dedent("""\
        apiVersion: v1
        kind: List
        items:
        - apiVersion: apps/v1
          kind: Deployment
          metadata: {name: web, uid: 0aa, resourceVersion: "9", generation: 3, creationTimestamp: null,
                     managedFields: [{manager: kubectl}]}
          spec:
            selector: {matchLabels: {app: web}}
            template: {metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: nginx}]}}
          status: {replicas: 1}
        - apiVersion: apps/v1
          kind: ReplicaSet
          metadata: {name: web-7d9, ownerReferences: [
            {apiVersion: apps/v1, kind: Deployment, name: web, uid: 0aa, controller: true}]}
          spec: {selector: {matchLabels: {app: web}}, template: {
            metadata: {labels: {app: web}}, spec: {containers: [{name: c, image: nginx}]}}}
        - apiVersion: v1
          kind: Pod
          metadata: {name: web-7d9-x, labels: {app: web}, ownerReferences: [
            {apiVersion: apps/v1, kind: ReplicaSet, name: web-7d9, uid: 0bb, controller: true}]}
          spec: {nodeName: gone, containers: [{name: c, image: nginx}]}
          status: {podIP: 10.244.1.5, phase: Running}
        - apiVersion: v1
          kind: Pod
          metadata: {name: orphan, labels: {app: web}, ownerReferences: [
            {apiVersion: apps/v1, kind: ReplicaSet, name: elsewhere, uid: 0cc, controller: true}]}
          spec: {containers: [{name: c, image: nginx}]}
          status: {podIP: 10.244.1.6}
        - apiVersion: v1
          kind: Service
          metadata: {name: web}
          spec: {selector: {app: web}, ports: [{port: 80}]}
          status: {loadBalancer: {}}
        - apiVersion: discovery.k8s.io/v1
          kind: EndpointSlice
          metadata: {name: web-1, labels: {kubernetes.io/service-name: web,
                     endpointslice.kubernetes.io/managed-by: endpointslice-controller.k8s.io}}
          addressType: IPv4
          endpoints: [{addresses: [10.244.1.5]}]
          ports: [{port: 80}]
        """)
    lab = parse(text, "dump.yaml")
    mine = [pod for pod in lab.pods if pod.namespace == "default"]
    assert sorted((pod.owner, pod.assigned) for pod in mine) == [("", None), ("Deployment/default/web", None)]
    assert [one.kind for one in lab.controllers] == ["Deployment"]
    assert lab.slices == ()
    assert "managedFields" not in dump(lab)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (controller("StatefulSet", "db", "replicas: 2, serviceName: db, "), ["db-0", "db-1"]),
        (controller("StatefulSet", "db", "replicas: 2, serviceName: db, ordinals: {start: 5}, "), ["db-5", "db-6"]),
        (controller("ReplicaSet", "rs", "replicas: 2, "), ["rs-", "rs-"]),
        (controller("DaemonSet", "agent"), ["agent-", "agent-"]),
        (controller("Job", "once", "completions: 3, parallelism: 3, ", "batch/v1", "Never"), ["once-"] * 3),
        (controller("Job", "once", "suspend: true, ", "batch/v1", "Never"), []),
    ],
)
def test_what_controllers_make(text: str, names: list[str]) -> None:
    lab = parse(text, "x.yaml")
    made = [pod for pod in lab.pods if pod.owner]
    assert [pod.name[: len(name)] for pod, name in zip(made, names, strict=True)] == names
    assert len({pod.name for pod in made}) == len(names)
    assert parse_stored(dump(lab), "kept") == lab


def test_a_daemon_set_has_one_pod_on_each_node() -> None:
    lab = parse(controller("DaemonSet", "agent"), "x.yaml")
    assert [pod.node for pod in lab.pods if pod.owner] == ["node1", "node2"]


def test_the_pod_index_is_the_ordinal() -> None:
    lab = parse(controller("StatefulSet", "db", "replicas: 2, serviceName: db, ordinals: {start: 5}, "), "x.yaml")
    assert [dict(pod.labels)["apps.kubernetes.io/pod-index"] for pod in lab.pods if pod.owner] == ["5", "6"]


def test_a_stateful_set_is_scaled_from_its_end() -> None:
    lab = parse(controller("StatefulSet", "db", "replicas: 3, serviceName: db, "), "x.yaml")
    fewer, lines = scaled(lab, ["sts/db"], 1)
    assert ([pod.name for pod in fewer.pods if pod.owner], lines) == (["db-0"], ("statefulset.apps/db scaled",))


def test_what_is_kept_is_one_line_and_what_is_played_another() -> None:
    more = dedent("""\
        ---
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: a}
        ---
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: b}
        ---
        apiVersion: v1
        kind: Namespace
        metadata: {name: n}
        ---
        apiVersion: v1
        kind: Node
        metadata: {name: node1, labels: {disk: ssd}}
        spec: {taints: [{key: a, effect: NoSchedule}]}
        """)
    _, notes = parse_with_warnings(DEPLOYMENT + more, "x.yaml")
    assert [*map(str, notes)] == ["kept, not acted on: 2 Ingresses, 1 Node", "played by stand-ins: nginx:1.25"]


def image(container: str, **of: str) -> tuple[str, ...]:
    """What runs for the first container of a pod."""
    annotations = "".join(f"\n  annotations: {{{name.replace('_', '/')}: {value}}}" for name, value in of.items())
    head = f"apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels: {{app: p}}{annotations}\n"
    service = (
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {selector: {app: p}, ports: [{port: 9000}]}\n"
    )
    return parse(f"{head}spec: {{containers: [{container}]}}\n{service}", "x.yaml").pods[0].containers[0].argv


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ("{name: c, image: nginx, ports: [{containerPort: 80}]}", "--tcp 80"),
        ("{name: c, image: bind9, ports: [{containerPort: 53, protocol: UDP}]}", "--udp 53"),
        ("{name: c, image: redis, command: [redis-server]}", "--tcp 9000"),
        ("{name: c, image: a/b, readinessProbe: {tcpSocket: {port: 5432}}}", "--tcp 5432 --tcp 9000"),
        ("{name: c, image: a, ports: [{containerPort: 1}], livenessProbe: {httpGet: {port: 2}}}", "--tcp 1 --tcp 2"),
    ],
)  # fmt: skip
def test_a_stand_in_answers_where_it_is_asked(container: str, argv: str) -> None:
    assert " ".join(image(container)).partition(" --image ")[2].partition(" ")[2] == argv


@pytest.mark.parametrize(
    ("container", "argv"),
    [
        ("{name: c, image: 'busybox:1.36', command: [sleep, '9']}", ("sleep", "9")),
        ("{name: c, image: busybox, args: [sleep, '9']}", ("sleep", "9")),
        ("{name: c, image: curlimages/curl, args: [-s, 'http://s']}", ("curl", "-s", "http://s")),
        ("{name: c, image: nicolaka/netshoot, tty: true}", ("sleep", "infinity")),
        ("{name: c, command: [sleep, '9']}", ("sleep", "9")),
        ("{name: c, image: registry.k8s.io/pause:3.9}", ("agnhost", "pause")),
        ("{name: c, image: agnhost, command: [sh, -c, 'true']}", ("sh", "-c", "true")),
        ("{name: c, image: agnhost, command: [/agnhost], args: [netexec, -x]}", ("agnhost", "netexec", "-x")),
    ],
)  # fmt: skip
def test_tools_run_with_this_machine_s_programs(container: str, argv: tuple[str, ...]) -> None:
    assert image(container) == argv


def test_a_pod_chooses_what_runs_for_its_images() -> None:
    container = "{name: c, image: python, command: [python3, -m, http.server]}"
    assert image(container)[0] == "standin"
    assert image(container, nslab_image="machine") == ("python3", "-m", "http.server")
    assert image("{name: c, image: busybox, command: [x]}", nslab_image="stand-in")[0] == "standin"


def test_a_stand_in_of_a_job_ends_well() -> None:
    lab = parse(controller("Job", "once", "", "batch/v1", "Never"), "x.yaml")
    assert [pod.containers[0].argv for pod in lab.pods if pod.owner] == [("standin", "--exit")]


def test_a_manifest_is_applied_to_a_lab_that_runs() -> None:
    lab = parse(POD.format("a", ""), "x.yaml")
    made, lines = applied(lab, DEPLOYMENT)
    assert lines == ("deployment.apps/web created",)
    assert [pod.owner for pod in made.pods if pod.owner] == ["Deployment/default/web"]


UNSET = """
hostname: {text}
subdomain: {text}
nodeName: {text}
restartPolicy: {text}
dnsPolicy: {text}
preemptionPolicy: {text}
containers:
- name: c
  image: nginx
  workingDir: {text}
  imagePullPolicy: {text}
  terminationMessagePolicy: {text}
  ports: [{{containerPort: 80, name: {text}, protocol: {text}, hostPort: {number}}}]
  livenessProbe:
    httpGet: {{port: 80, scheme: {text}}}
    periodSeconds: {number}
    timeoutSeconds: {number}
    failureThreshold: {number}
"""


@pytest.mark.parametrize(("text", "number"), [('""', "0"), ("null", "null"), ("~", "~")])
def test_the_zero_values_that_go_programs_print_are_unset(text: str, number: str) -> None:
    head = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: {text}}}\nspec:"
    bare = "{containers: [{name: c, image: nginx, ports: [{containerPort: 80}], livenessProbe: {httpGet: {port: 80}}}]}"
    spec = UNSET.format(text=text, number=number).replace("\n", "\n  ")
    assert parse(f"{head}{spec}", "x.yaml").pods[0].containers == parse(f"{head} {bare}", "x.yaml").pods[0].containers


@pytest.mark.parametrize("wrong", ["hostname: 0", "nodeName: Mine", "restartPolicy: Sometimes", "dnsPolicy: 0"])
def test_other_values_are_not(wrong: str) -> None:
    with pytest.raises(LabFileError):
        first(pod("nginx", "", f"{wrong}, "))


EKS = """\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Pod
  metadata: {name: etcd-ip-10-0-0-1.ec2, labels: {app: etcd}}
  spec: {nodeName: ip-10-0-0-1.ec2.internal, containers: [{name: c, image: etcd}]}
  status: {phase: Running, podIP: 10.244.1.5, conditions: [{type: Ready, status: "True"}]}
- apiVersion: v1
  kind: Service
  metadata: {name: etcd}
  spec: {clusterIP: 10.96.0.7, selector: {app: etcd}, ports: [{port: 2379}]}
"""


def test_a_list_of_a_cluster_whose_nodes_have_names_with_dots() -> None:
    lab = parse(EKS, "x.yaml")
    assert [node.name for node in lab.nodes] == ["ip-10-0-0-1.ec2.internal", "node1"]
    assert [(pod.name, pod.node) for pod in lab.pods if pod.namespace == "default"] == [
        ("etcd-ip-10-0-0-1.ec2", "ip-10-0-0-1.ec2.internal")
    ]
    assert [pod.name for pod in parse_manifest(EKS, "x.yaml").pods] == ["etcd-ip-10-0-0-1.ec2"]


@pytest.mark.parametrize(
    "kind", ["Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job"]
)
def test_pods_are_named_after_controllers_with_dots_and_nothing_else(kind: str) -> None:
    version = {"Job": "batch/v1", "ReplicationController": "v1"}.get(kind, "apps/v1")
    policy = "Never" if kind == "Job" else "Always"
    made = controller(kind, "my.app", "", version, policy)
    if kind == "ReplicationController":
        made = made.replace("selector: {matchLabels: {a: b}}", "selector: {a: b}")
    assert {pod.name[:7] for pod in parse(made, "x.yaml").pods if pod.owner} == {"my.app-"}
    with pytest.raises(LabFileError, match="in parts joined by"):
        parse(made.replace("my.app", "my;app"), "x.yaml")


@pytest.mark.parametrize("label", ["My_Node", "a..b", "kube-system_kube-dns"])
def test_no_node_is_made_of_a_label_that_is_no_name_of_a_node(label: str) -> None:
    lab = parse(POD.format("a", f", nodeSelector: {{kubernetes.io/hostname: {label}}}"), "x.yaml")
    assert [node.name for node in lab.nodes] == ["node1", "node2"]
    assert [pod.name for pod in lab.pending] == ["a"]


def test_merge_keys() -> None:
    lab = parse(
        POD.format("a", "").replace("{name: c, image: nginx}", "{<<: [&b {name: c}, {name: d, image: x}]}"), "x"
    )
    assert [(one.name, one.image) for one in lab.pods[0].containers] == [("c", "x")]


def first(text: str) -> Container:
    """The first container of the first pod of a manifest."""
    return parse(text, "x.yaml").pods[0].containers[0]


def pod(image: str, container: str = "", spec: str = "") -> str:
    head = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n"
    return f"{head}spec: {{{spec}containers: [{{name: c, image: {image}{container}}}]}}\n"


@pytest.mark.parametrize("asks", ["privileged: true", "capabilities: {add: [NET_ADMIN]}", "capabilities: {add: [ALL]}"])
def test_a_stand_in_plays_an_image_that_asks_for_rights_that_nobody_has(asks: str) -> None:
    for image in ("quay.io/a/b", "busybox"):
        container = first(pod(image, f", command: [sysctl, -w, x=1], securityContext: {{{asks}}}"))
        assert (container.argv[0], container.security.privileged, container.security.add) == ("standin", False, ())
    with pytest.raises(LabFileError):
        first(pod("agnhost", f", securityContext: {{{asks}}}"))


@pytest.mark.parametrize(
    ("of_pod", "own", "user"),
    [
        ("runAsNonRoot: true", "", 65532),
        ("", "runAsNonRoot: true", 65532),
        ("runAsUser: 7", "runAsNonRoot: true", None),
        ("runAsNonRoot: true", "runAsUser: 8", 8),
        ("runAsNonRoot: true", "runAsNonRoot: false", None),
    ],
)
def test_a_stand_in_that_must_not_be_root_is_nobody_in_particular(of_pod: str, own: str, user: int | None) -> None:
    text = pod("a/b", f", securityContext: {{{own}}}", f"securityContext: {{{of_pod}}}, ")
    assert first(text).security.user == user


def test_a_stand_in_starts_at_once_and_anywhere() -> None:
    probe = "readinessProbe: {httpGet: {port: 80}, initialDelaySeconds: 60, periodSeconds: 7}"
    container = first(pod("a/b", f", workingDir: /usr/src/app, {probe}"))
    assert container.working_dir == "/"
    assert container.readiness
    assert (container.readiness.initial_delay, container.readiness.period) == (0, 7)


def test_coredns_is_the_cluster_s_name_server() -> None:
    ports = "ports: [{containerPort: 53, protocol: UDP}, {containerPort: 53}, {containerPort: 9153}]"
    assert first(pod("coredns/coredns:1.11.1", f", {ports}")).argv[-4:] == ("--dns", "53", "--tcp", "9153")


PORTS = "ports: [{name: http, containerPort: 80}]"
BOTH = "containers c and two both declare port 80/TCP, and a pod's containers share one network namespace"


@pytest.mark.parametrize(
    ("ports", "second", "says", "played"),
    [
        (PORTS, PORTS, [BOTH], [[80], []]),
        (PORTS, "ports: [{containerPort: 80}, {containerPort: 81}]", [BOTH], [[80], [81]]),
        (PORTS, "ports: [{containerPort: 80, protocol: UDP}]", [], [[80], [80]]),
        (
            "ports: [{containerPort: 81}, {containerPort: 80, name: a}, {containerPort: 80, name: b}]",
            "",
            ["container c declares port 80/TCP twice"],
            [[81, 80], []],
        ),
    ],
)
def test_a_port_that_is_declared_twice_is_warned_of_and_played_once(
    ports: str, second: str, says: list[str], played: list[list[int]]
) -> None:
    text = pod("a/b", f", {ports}}}, {{name: two, image: a/c{f', {second}' if second else ''}")
    lab, warnings = parse_with_warnings(text, "x.yaml")
    sentences = [one.sentence.removesuffix(" (see line 4)") for one in warnings]
    assert [one for one in sentences if "declare" in one] == says
    assert [[port.port for port in one.standin.ports] for one in lab.pods[0].containers if one.standin] == played


@pytest.mark.parametrize(
    ("container", "port", "says"),
    [
        (", ports: [{containerPort: 80}]", "port: 80, targetPort: 9090", ["targetPort"]),
        (", ports: [{containerPort: 80}]", "port: 9090", ["port"]),
        (", ports: [{containerPort: 80}]", "port: 9090, targetPort: 80", []),
        (", ports: [{containerPort: 80}]", "port: 80, protocol: UDP", ["port"]),
        (", ports: [{containerPort: 80}], livenessProbe: {tcpSocket: {port: 9090}}", "port: 9090", []),
        ("", "port: 80, targetPort: 9090", []),
        (", ports: [{containerPort: 80}]}, {name: d, image: busybox, command: [x]", "port: 9090", []),
    ],
)
def test_a_port_to_which_a_service_sends_in_vain_is_named(container: str, port: str, says: list[str]) -> None:
    service = f"metadata: {{name: s}}\nspec: {{selector: {{a: b}}, ports: [{{{port}}}]}}\n"
    text = pod("a/b", container).replace("{name: p}", "{name: p, labels: {a: b}}")
    text += f"---\napiVersion: v1\nkind: Service\n{service}"
    _, warnings = parse_with_warnings(text, "x.yaml")
    wrong = [one for one in warnings if "sends to" in one.sentence]
    assert [one.path[-1] for one in wrong] == says
    number = 80 if "UDP" in port else 9090
    assert [one.sentence for one in wrong] == [f"Service s sends to {number}, which no container of p declares"] * len(
        wrong
    )


def test_a_host_port_is_acted_on_with_calico() -> None:
    text = pod("a/b", ", ports: [{containerPort: 80, hostPort: 8080}]")
    _, warnings = parse_with_warnings(text, "x.yaml")
    assert [one.sentence for one in warnings] == ["played by stand-ins: a/b"]


@pytest.mark.parametrize(
    ("hook", "made"),
    [("test", 0), ("test-success", 0), ("pre-delete", 0), ("post-upgrade, pre-rollback", 0), ("pre-install", 1),
     ("post-install,post-upgrade", 1), ('""', 1)],
)  # fmt: skip
def test_of_helm_s_hooks_those_of_an_installation_are_made(hook: str, made: int) -> None:
    annotated = f"metadata: {{name: p, annotations: {{helm.sh/hook: '{hook}'}}}}".replace("'\"\"'", '""')
    text = pod("a/b").replace("metadata: {name: p}", annotated)
    lab, warnings = parse_with_warnings(text, "x.yaml")
    assert len([one for one in lab.pods if one.namespace == "default"]) == made
    assert any("1 Pod (Helm's hook for later)" in str(one) for one in warnings) == (not made)
    assert parse_stored(dump(lab), "kept") == lab


def test_a_kustomization_beside_manifests_is_kept(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [web.yaml]\n")
    (tmp_path / "web.yaml").write_text(DEPLOYMENT)
    lab, warnings = load_with_warnings(tmp_path)
    assert [one.kind for one in lab.others] == ["Kustomization"]
    assert str(warnings[0]) == "kept, not acted on: 1 Kustomization.kustomize.config.k8s.io"


def test_pods_of_a_stateful_set_have_names_below_their_service() -> None:
    spec = "{clusterIP: None, selector: {a: b}, ports: [{port: 1}]}"
    service = f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: db}}\nspec: {spec}\n"
    by_hand = pod("a/b", spec="hostname: h, subdomain: db, ").replace("{name: p}", "{name: p, labels: {a: b}}")
    lab = parse(by_hand + controller("StatefulSet", "db", "replicas: 2, serviceName: db, ") + service, "x.yaml")
    (found,) = [one for one in resolve(assign_addresses(lab)) if one.name == "db"]
    assert {end.pod: end.hostname for end in found.ports[0].endpoints} == {
        "default/p": "h",
        "default/db-0": "db-0",
        "default/db-1": "db-1",
    }


@pytest.mark.parametrize(
    ("command", "output"),
    [
        ('[sh, -c, "apk add --no-cache curl"]', "container c runs apk add, which fails"),
        ("[apt-get, -y, install, curl]", "container c runs apt-get -y install, which fails"),
        ('[sh, -c, "pip3 install x && python3 a.py"]', "container c runs pip3 install, which fails"),
        ('[sh, -c, "echo /apt install; ./pip install; snapt add"]', ""),
    ],
)
def test_what_installs_something_is_said_to_fail(command: str, output: str) -> None:
    container = f"{{name: c, image: alpine, command: {command}}}"
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{container}]}}\n"
    found = [one.sentence for one in parse_with_warnings(text, "f")[1]]
    why = "it has this machine's programs, a read-only root and no internet"
    assert found == ([f"{output}: {why}"] if output else [])


def test_a_stand_in_installs_nothing() -> None:
    container = "{name: c, image: wordpress, command: [sh, -c, apt-get install x]}"
    text = f"apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{container}]}}\n"
    assert [one.sentence for one in parse_with_warnings(text, "f")[1]] == ["played by stand-ins: wordpress"]


@pytest.mark.parametrize(
    "asks", ["httpGet: {port: 8443, scheme: HTTPS}", "grpc: {port: 8443, service: x}", "tcpSocket: {port: 8443}"]
)
def test_a_stand_in_passes_probes_in_protocols_that_it_does_not_speak_once_its_port_is_open(asks: str) -> None:
    container = first(pod("a/b", f", livenessProbe: {{{asks}, initialDelaySeconds: 60}}"))
    assert container.liveness == HealthCheck("tcpSocket", 8443)
    assert container.standin
    assert [port.port for port in container.standin.ports] == [8443]


def test_a_grpc_probe_asks_what_really_runs_about_a_service() -> None:
    container = first(pod("busybox", ", command: [x], livenessProbe: {grpc: {port: 5000, service: shop}}"))
    assert container.liveness == HealthCheck("grpc", 5000, service="shop")


def test_an_https_probe_asks_what_really_runs_by_tls() -> None:
    container = first(
        pod("busybox", ", command: [x], livenessProbe: {httpGet: {port: 8443, scheme: HTTPS, path: /up}}")
    )
    assert container.liveness == HealthCheck("httpGet", 8443, "/up", scheme="HTTPS")
