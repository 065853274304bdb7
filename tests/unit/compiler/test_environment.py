"""The environment of containers: what the kubelet makes of ConfigMaps, Secrets, the pod's fields and Services."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import parse, parse_with_warnings
from nslab.admission.warn_sources import MOST_LINKS
from nslab.api.sources import resource
from nslab.compiler.environment import Surroundings, expand
from nslab.compiler.placement import assign_addresses
from nslab.compiler.pods import workload
from nslab.objects.base import Add, Remove
from nslab.objects.script import commands

if TYPE_CHECKING:
    from nslab.objects.container import Workload

OBJECTS = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: shop}
data: {COLOR: blue, log.level: debug}
binaryData: {RAW: AAEC}
---
apiVersion: v1
kind: Secret
metadata: {name: login}
data: {password: czNjcmV0}
stringData: {user: root}
---
apiVersion: v1
kind: Service
metadata: {name: my-db}
spec:
  clusterIP: 10.96.0.77
  selector: {app: web}
  ports: [{name: sql, port: 5432}, {name: adm-in, port: 53, protocol: UDP}]
---
apiVersion: v1
kind: Service
metadata: {name: elsewhere, namespace: other}
spec: {clusterIP: 10.96.0.78, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: headless}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, uid: abc, labels: {app: web}, annotations: {team: red}}
spec:
  serviceAccountName: robot
"""


def lab_of(container: str, more: str = "") -> str:
    return f"{OBJECTS}{more}  containers: [{{name: app, image: busybox, {container}}}]\n"


def made(container: str, more: str = "") -> Workload:
    lab = assign_addresses(parse(lab_of(container, more), "shop.yaml"))
    pod = next(one for one in lab.pods if one.name == "web")
    return workload(lab, pod, pod.containers[0])


def env_of(container: str) -> dict[str, str]:
    return dict(made(container).begun.env)


def doubts(container: str) -> list[str]:
    _, found = parse_with_warnings(lab_of(container), "shop.yaml")
    return [str(one) for one in found if one.position.line]


def links_of(work: Workload) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in work.begun.links.split("\0") if pair)


FROM_SECRETS = """\
command: [sh, -c, 'login $(PASSWORD)'],
env: [{name: PASSWORD, valueFrom: {secretKeyRef: {name: login, key: password}}},
      {name: URL, value: 'sql://$(PASSWORD)@db'}, {name: PLAIN, value: told}],
envFrom: [{prefix: L_, secretRef: {name: login}}]
""".replace("\n", " ")


def test_people_do_not_read_the_values_of_secrets() -> None:
    work = made(FROM_SECRETS)
    assert work.begun.argv == ("sh", "-c", "login s3cret")
    assert dict(work.begun.env)["URL"] == "sql://s3cret@db"
    (line,) = commands(Add(work))
    assert line.endswith(
        "env 'L_password=***' 'L_user=***' 'PASSWORD=***' 'URL=sql://***@db' PLAIN=told sh -c 'login ***' &"
    )
    printed = [*commands(Add(work)), *commands(Remove(work)), work.description, repr(work), work.sentence]
    assert not [text for text in printed if "s3cret" in text or "root" in text]


def test_a_script_runs_so_it_has_the_values_of_secrets() -> None:
    (line,) = made(FROM_SECRETS).script_lines(Add(made(FROM_SECRETS)), {})
    assert "L_password=s3cret L_user=root" in line
    assert "PASSWORD=s3cret URL=sql://s3cret@db PLAIN=told sh -c 'login s3cret'" in line


def test_a_key_of_a_config_map_or_a_secret() -> None:
    found = env_of(
        "env: [{name: A, valueFrom: {configMapKeyRef: {name: shop, key: COLOR}}},"
        " {name: B, valueFrom: {secretKeyRef: {name: login, key: password}}},"
        " {name: C, valueFrom: {secretKeyRef: {name: login, key: user}}}]"
    )
    assert found == {"A": "blue", "B": "s3cret", "C": "root"}


def test_all_keys_with_a_prefix_and_what_is_said_by_name_goes_before_them() -> None:
    found = env_of(
        "envFrom: [{prefix: S_, configMapRef: {name: shop}}, {secretRef: {name: login}}],"
        "env: [{name: user, value: $(password)-$(S_COLOR)}]"
    )
    assert found["S_COLOR"] == "blue"
    assert found["S_log.level"] == "debug"
    assert (found["password"], found["user"]) == ("s3cret", "s3cret-blue")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web"),
        ("metadata.namespace", "default"),
        ("metadata.uid", "abc"),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['nobody']", ""),
        ("metadata.annotations['team']", "red"),
        ("spec.nodeName", "node1"),
        ("spec.serviceAccountName", "robot"),
        ("status.hostIP", "192.168.59.22"),
        ("status.podIP", "20.96.0.1"),
        ("status.podIPs", "20.96.0.1"),
    ],
)
def test_a_field_of_the_pod(path: str, value: str) -> None:
    lab = assign_addresses(parse(lab_of("command: [sh]", "  nodeName: node1\n"), "shop.yaml"))
    pod = next(one for one in lab.pods if one.name == "web")
    assert Surroundings(lab).field(pod, path) == value


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ({"resource": "limits.cpu"}, "1"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "250"),
        ({"resource": "limits.memory", "divisor": "1Mi"}, "64"),
        ({"resource": "requests.memory"}, str(64 << 20)),
        ({"resource": "requests.cpu", "divisor": "1m"}, "100"),
        ({"resource": "requests.ephemeral-storage"}, "0"),
    ],
)
def test_a_limit_in_units_of_its_divisor_is_rounded_up(asked: dict[str, str], value: str) -> None:
    resources = {"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "0.1"}}
    assert resource({"resources": resources}, asked) == value


def test_without_a_limit_it_is_what_a_container_may_use_here() -> None:
    assert resource({}, {"resource": "limits.memory", "divisor": "1Mi"}) == "512"
    assert resource({}, {"resource": "requests.cpu"}) == "0"


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("$(A)/$(B)", "1/$(B)"),
        ("$$(A) $$ $A ${A}", "$(A) $ $A ${A}"),
        ("$$$(A)", "$1"),
        ("$($(A)) $(A", "$($(A)) $(A"),
        ("cost: 5$", "cost: 5$"),
    ],
)
def test_references_as_kubernetes_fills_them_in(text: str, filled: str) -> None:
    assert expand(text, {"A": "1"}) == filled


def test_commands_and_arguments_are_filled_in_too() -> None:
    container = "command: [echo, $(MY_DB_SERVICE_HOST)], args: [--of=$(POD), $$(POD)], env: [{name: POD, value: x}]"
    assert made(container).begun.argv == ("echo", "10.96.0.77", "--of=x", "$(POD)")


def test_a_variable_knows_those_before_it_alone() -> None:
    found = env_of("env: [{name: A, value: $(B)}, {name: B, value: b}, {name: C, value: $(A)$(B)}]")
    assert found == {"A": "$(B)", "B": "b", "C": "$(B)b"}


def test_each_service_of_the_namespace_with_an_address_has_variables() -> None:
    found = links_of(made("command: [sh]"))
    assert {name: value for name, value in found.items() if name.startswith("MY_DB")} == {
        "MY_DB_SERVICE_HOST": "10.96.0.77",
        "MY_DB_SERVICE_PORT": "5432",
        "MY_DB_SERVICE_PORT_SQL": "5432",
        "MY_DB_SERVICE_PORT_ADM_IN": "53",
        "MY_DB_PORT": "tcp://10.96.0.77:5432",
        "MY_DB_PORT_5432_TCP": "tcp://10.96.0.77:5432",
        "MY_DB_PORT_5432_TCP_PROTO": "tcp",
        "MY_DB_PORT_5432_TCP_PORT": "5432",
        "MY_DB_PORT_5432_TCP_ADDR": "10.96.0.77",
        "MY_DB_PORT_53_UDP": "udp://10.96.0.77:53",
        "MY_DB_PORT_53_UDP_PROTO": "udp",
        "MY_DB_PORT_53_UDP_PORT": "53",
        "MY_DB_PORT_53_UDP_ADDR": "10.96.0.77",
    }
    assert (found["KUBERNETES_SERVICE_HOST"], found["KUBERNETES_SERVICE_PORT"]) == ("10.96.0.1", "443")
    assert {name.partition("_")[0] for name in found} == {"PATH", "MY", "KUBERNETES"}


def test_who_wants_no_service_links_has_the_api_servers_alone() -> None:
    found = links_of(made("command: [sh]", "  enableServiceLinks: false\n"))
    assert {name.partition("_")[0] for name in found} == {"PATH", "KUBERNETES"}


@pytest.mark.parametrize(
    ("image", "first"), [("busybox:1.28", "/opt/busybox"), ("docker.io/library/alpine", "/opt/busybox"), ("debian", "")]
)
def test_busyboxs_images_find_its_applets_first(image: str, first: str) -> None:
    lab = assign_addresses(parse(lab_of("command: [sh]").replace("busybox", image), "shop.yaml"))
    pod = next(one for one in lab.pods if one.name == "web")
    path = links_of(workload(lab, pod, pod.containers[0])).get("PATH", "")
    assert path.partition(":")[0] == first


def test_services_and_config_maps_that_come_later_restart_nothing() -> None:
    before = made("command: [echo, $(LATE_SERVICE_HOST)], envFrom: [{configMapRef: {name: shop}}]")
    late = (
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: late}\nspec: {clusterIP: 10.96.0.9, ports: [{port: 1}]}\n"
    )
    text = lab_of("command: [echo, $(LATE_SERVICE_HOST)], envFrom: [{configMapRef: {name: shop}}]").replace(
        "blue", "red"
    )
    lab = assign_addresses(parse(text + late, "shop.yaml"))
    pod = next(one for one in lab.pods if one.name == "web")
    after = workload(lab, pod, pod.containers[0])
    assert before.begun != after.begun
    assert before == after


def test_another_source_is_another_container() -> None:
    one, other = (made(f"env: [{{name: A, valueFrom: {{secretKeyRef: {{name: login, key: {key}}}}}}}]") for key in "ab")
    assert one != other


def test_what_is_not_there_is_said_with_its_place_and_left_out() -> None:
    container = (
        "envFrom: [{secretRef: {name: logn}}, {secretRef: {name: none, optional: true}}], env: ["
        "{name: A, valueFrom: {configMapKeyRef: {name: shop, key: COLR}}},"
        "{name: B, valueFrom: {configMapKeyRef: {name: shop, key: NONE, optional: true}}},"
        "{name: C, valueFrom: {fieldRef: {fieldPath: status.podIp}}}, {name: D, value: d}]"
    )
    assert env_of(container) == {"D": "d"}
    assert [one.partition(": ")[2] for one in doubts(container)] == [
        "there is no Secret logn in namespace default: container app has no variables of it; did you mean login?",
        "ConfigMap shop has no key COLR: container app has no variable A; did you mean COLOR?",
        "a variable cannot have the field status.podIp: container app has no C; did you mean status.podIP?",
    ]
    assert all(one.startswith("shop.yaml:36:") for one in doubts(container))


def test_a_secret_that_is_not_in_base64_is_said() -> None:
    text = lab_of("command: [sh]").replace("czNjcmV0", "s3cret!")
    _, found = parse_with_warnings(text, "shop.yaml")
    assert "Secret login: password is not in base64, so that it is left out" in [one.sentence for one in found]


def test_of_very_many_services_the_first_have_variables_and_that_is_said() -> None:
    many = "".join(
        f"---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{n:04}}}\nspec: {{ports: [{{port: 80}}]}}\n"
        for n in range(MOST_LINKS + 5)
    )
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c, image: busybox}]}\n"
    lab, found = parse_with_warnings(text + many, "many.yaml")
    lab = assign_addresses(lab)
    pod = next(one for one in lab.pods if one.name == "a")
    hosts = [name for name in links_of(workload(lab, pod, pod.containers[0])) if "_SERVICE_HOST" in name]
    assert len(hosts) == MOST_LINKS + 1
    said = f"containers of namespace default have variables of {MOST_LINKS} of its {MOST_LINKS + 5} Services"
    assert any(one.sentence.startswith(said) for one in found)
