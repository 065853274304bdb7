"""Whatever is in a lab file, a valid Lab comes of it, or problems with their places; never a traceback."""

from __future__ import annotations

import copy
import re
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nslab.admission import load
from nslab.admission.load import parse, parse_stored
from nslab.api import documents
from nslab.errors import LabFileError
from nslab.lab import dump as dumped
from nslab.lab import views
from nslab.lab.defaults import complete, gateway
from nslab.lab.dump import dump
from nslab.lab.network_rules import RULES
from nslab.lab.status import merge_status
from nslab.lab.types import ONE_NUMBER, Client, Lab, Node
from tests.slow import often

if TYPE_CHECKING:
    import pytest

LABS = [path.read_text() for path in sorted((Path(__file__).parents[3] / "labs").glob("*/lab.yaml"))]
PARSED = [list(yaml.safe_load_all(text)) for text in LABS]
VERSIONS = {
    "Lab": "nslab/v1",
    "Pod": "v1",
    "Service": "v1",
    "ConfigMap": "v1",
    "Deployment": "apps/v1",
    "EndpointSlice": "discovery.k8s.io/v1",
    "CronJob": "batch/v1",
    "Certificate": "cert-manager.io/v1",
}
LABEL = re.compile("[a-z0-9]([-a-z0-9]*[a-z0-9])?")
quick = settings(max_examples=often(150), deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])

# Words that mean something somewhere in a lab file, and words that have bitten readers of YAML.
WORDS = st.sampled_from(
    [
        *[
            "apiVersion",
            "kind",
            "metadata",
            "spec",
            "status",
            "name",
            "nodes",
            "clients",
            "podCIDR",
            "address",
            "networks",
            "cni",
            "proxy",
            "mode",
            "none",
        ],
        *[
            "nslab/v1",
            "v1",
            "Lab",
            "Pod",
            "node1",
            "node2",
            "client",
            "pod-a",
            "switch",
            "control",
            "default",
            "calico",
            "kubenet",
            "IPIP",
            "VXLAN",
            "None",
        ],
        *[
            "192.168.59.22",
            "192.168.59.1",
            "20.111.156.0",
            "20.111.156.6",
            "20.109.131.2",
            "192.168.59.022",
            "::1",
            "20.111.156.0/26",
        ],
        *[
            "20.96.0.0/12",
            "0.0.0.0/0",
            "255.255.255.255/32",
            "10.0.0.0/8",
            "20.111.156.0/31",
            "agnhost",
            "netexec",
            "nginx",
            "TCP",
            "8080",
        ],
        *["on", "no", "null", "~", "<<", "=", "1:30", "010", "0x1F", "1e3", ".inf", "2026-01-01", ".nan"],
        *("", " ", "a" * 300, "é", "\u2028", "\x85", "\U0001f600", "\x1b[31m", "-", "a.b", "%s", "{}", "$(id)"),
        *["Service", "EndpointSlice", "Deployment", "NodePort", "LoadBalancer", "ExternalName", "ClusterIP"],
        *["10.96.0.10", "10.96.0.0", "http", "UDP", "ClientIP", "Local", "spec.ports", "selector", "app", "web"],
        '["20.111.156.7"]',
        "[" * 2000,
    ]
)
NUMBERS = st.sampled_from([0, -1, 80, 30000, 31080, 32768, 65536, 2**31])
SCALARS = WORDS | NUMBERS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()


def trees(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A scalar, or a list or mapping of what is below."""
    return SCALARS | st.lists(below, max_size=4) | st.lists(st.tuples(SCALARS, below), max_size=4).map(dict)


# Three levels and not st.recursive, whose time per example grows with their number.
SMALL_TREES = trees(SCALARS)
TREES = trees(trees(SMALL_TREES))


def outcome(text: str) -> Lab | LabFileError:
    """What comes of a text; nothing else may."""
    try:
        return parse(text, "lab.yaml")
    except LabFileError as error:
        assert_told(error, text)
        return error


def assert_told(error: LabFileError, text: str) -> None:
    """Problems with places inside the text, in words that a terminal only prints."""
    assert error.errors
    lines = len(re.findall("[\n\r\x85\u2028\u2029]", text)) + 2
    for problem in error.errors:
        assert problem.position.file == "lab.yaml"
        assert 1 <= problem.position.line <= lines
        assert problem.position.column >= 1
        assert problem.sentence.isprintable()


def check(text: str) -> None:
    """A text makes a valid lab, which survives being written, or problems."""
    lab = outcome(text)
    if isinstance(lab, Lab):
        assert_valid(lab)
        assert parse_stored(dump(lab), "kept") == lab
        assert merge_status(lab, lab) == lab
        found = dumped.documents(lab)
        complete(found)
        assert views.lab(found) == lab


def assert_valid(lab: Lab) -> None:
    """What everything behind the loader builds on."""
    nets = (*lab.networks.nodes, lab.networks.pods, lab.networks.services)
    assert not any(a.overlaps(b) for a in nets for b in nets if a is not b)
    machines: list[Node | Client] = [*lab.nodes, *lab.clients]
    addresses = [machine.address for machine in machines]
    addresses += [leg for router in lab.routers for leg in router.addresses]
    addresses += [first for first in [gateway(nets[0])] if first and len(lab.networks.nodes) == 1]
    hosts = (
        [m.name for m in machines]
        + ["switch", "control"]
        + [r.name for r in lab.routers]
        + [p.name for p in lab.pods if p.namespace == "default"]
    )
    assert lab.nodes
    assert len(set(addresses)) == len(addresses)
    assert all(any(a in subnet for subnet in lab.networks.nodes) for a in addresses)
    assert len(set(hosts)) == len(hosts)
    assert LABEL.fullmatch(lab.name)
    assert all(LABEL.fullmatch(part) for name in hosts for part in name.split("."))
    cidrs = {node.name: node.pod_cidr for node in lab.nodes}
    assert all(cidr.subnet_of(lab.networks.pods) for cidr in cidrs.values())
    assert not any(a.overlaps(b) for n, a in cidrs.items() for m, b in cidrs.items() if n != m)
    pods = [(pod.namespace, pod.name) for pod in lab.pods]
    assert len(set(pods)) == len(pods)
    had = [pod.requested or pod.assigned for pod in lab.pods if pod.requested or pod.assigned]
    assert len(set(had)) == len(had)
    for node in lab.nodes:
        mine = [pod for pod in lab.pods if pod.node == node.name]
        back = RULES[lab.plugin].reserved(node.pod_cidr, lab.encapsulation)
        assert len(mine) <= node.pod_cidr.num_addresses - len(back)
        for address in (pod.requested or pod.assigned for pod in mine):
            assert address is None or (address in node.pod_cidr and address not in back)
    assert_services(lab)
    for pod in lab.pods:
        assert pod.node in cidrs
        assert pod.containers
        assert pod.uid
        assert all(map(LABEL.fullmatch, pod.hostname.split(".")))
        assert all(c.builtin or (c.command and c.command[0]) for c in pod.containers)
        ports = [port.port for container in pod.containers for port in container.ports]
        assert all(0 < port < 65536 for port in ports)


def assert_services(lab: Lab) -> None:
    """What every proxy mode builds on."""
    network = lab.networks.services
    addresses = [service.cluster_ip for service in lab.services if service.cluster_ip]
    assert len(set(addresses)) == len(addresses)
    assert all(address in network and address not in (network[0], network[-1]) for address in addresses)
    taken: dict[int, str] = {}
    for service in lab.services:
        key = f"{service.namespace}/{service.name}"
        ports = [(port.port, port.protocol) for port in service.ports]
        assert len(set(ports)) == len(ports)
        assert all(0 < port.port < 65536 and port.target for port in service.ports)
        numbers = {port.node_port for port in service.ports} | {service.health_check_node_port}
        for number in numbers - {0}:
            assert 30000 <= number <= 32767
            assert taken.setdefault(number, key) == key
    owners = {one.owner_name: one.replicas for one in lab.controllers if one.kind in ONE_NUMBER}
    for owner, replicas in owners.items():
        assert sum(pod.owner == owner for pod in lab.pods) == replicas


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a tree."""
    below = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path, *(place for key, value in below for place in places(value, (*path, key)))]


def mutated(tree: Any, path: tuple[Any, ...], how: str, value: Any) -> Any:
    """The tree with one thing in it deleted, doubled, renamed or put in another's place."""
    if not path:
        return value
    key, rest = path[0], path[1:]
    entries = list(tree.items()) if isinstance(tree, dict) else list(enumerate(tree))
    made = []
    for name, entry in entries:
        if name != key:
            made.append((name, entry))
        elif rest:
            made.append((name, mutated(entry, rest, how, value)))
        elif how == "replace":
            made.append((name, value))
        elif how == "double":
            made += [(name, entry), (name, entry)]
        elif how == "rename":
            made.append((str(value), entry))
    return dict(made) if isinstance(tree, dict) else [entry for _, entry in made]


@st.composite
def broken_labs(draw: st.DrawFn) -> str:
    """A good lab with a few things in it changed."""
    documents = copy.deepcopy(draw(st.sampled_from(PARSED)))
    for _ in range(draw(st.integers(1, 3))):
        paths = places(documents)[1:]
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        how = draw(st.sampled_from(["delete", "double", "rename", "replace", "replace", "swap"]))
        value = draw(WORDS | SMALL_TREES)
        if how == "swap":
            how, other = "replace", draw(st.sampled_from(paths))
            value = documents
            for key in other:
                value = value[key]
        documents = mutated(documents, path, how, value)
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=draw(st.booleans()))


@quick
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    check(text)


@quick
@given(st.text(alphabet="-:?[]{},&*!|>'\"%@` \t\n#ab<~1", max_size=60))
def test_punctuation(text: str) -> None:
    check(text)


@quick
@given(st.lists(TREES, max_size=3))
def test_any_yaml(documents: list[Any]) -> None:
    check(yaml.safe_dump_all(documents))


@quick
@given(st.sampled_from(sorted(VERSIONS)), TREES, TREES, TREES)
def test_any_content_of_a_kind(kind: str, metadata: Any, spec: Any, status: Any) -> None:
    document = {
        "apiVersion": VERSIONS[kind],
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
        "status": status,
    }
    check(LABS[0] + "---\n" + yaml.safe_dump(document))
    check(yaml.safe_dump(document))


@settings(quick, max_examples=often(400))
@given(broken_labs())
def test_mutations_of_good_labs(text: str) -> None:
    check(text)


@quick
@given(st.data())
def test_mutations_of_the_text(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(LABS))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    check(text[:start] + data.draw(WORDS | st.text(alphabet="-:[]{}&*!'\"\n a1", max_size=5)) + text[end:])


@quick
@given(st.binary(max_size=60), st.integers(0, 400))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int) -> None:
    whole = LABS[0].encode()
    path = tmp_path_factory.getbasetemp() / "lab.yaml"
    path.write_bytes(whole[:at] + data + whole[at:])
    with suppress(LabFileError):
        assert_valid(load.load(path))


@quick
@given(
    st.sampled_from(["calico, encapsulation: IPIP", "calico, encapsulation: None", "kubenet"]),
    st.integers(0, 32),
    st.integers(0, 32),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.lists(st.none() | st.integers(24, 32), min_size=1, max_size=5),
    st.integers(0, 12),
)
def test_networks_of_any_size(
    cni: str, nodes: int, pods: int, at_nodes: int, at_pods: int, given_cidrs: list[int | None], count: int
) -> None:
    pod_network = IPv4Network((at_pods, pods), strict=False)
    cidrs = [f", podCIDR: {IPv4Network((int(pod_network[0]), n))}" if n and n >= pods else "" for n in given_cidrs]
    text = (
        "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: sizes}\nspec:\n"
        f"  networks: {{nodes: {IPv4Network((at_nodes, nodes), strict=False)}, pods: {pod_network}}}\n"
        f"  cni: {{plugin: {cni}}}\n  proxy: {{mode: none}}\n  clients: [{{name: c}}]\n  nodes:\n"
    )
    text += "".join(f"  - {{name: n{i}{cidr}}}\n" for i, cidr in enumerate(cidrs))
    pod = "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{}}}\nspec: {{containers: [{{name: a, command: [x]}}]}}\n"
    check(text + "".join(pod.format(i) for i in range(count)))


def test_without_the_c_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may have been built without libyaml: slower, and all the same."""
    fast = [outcome(text) for text in LABS]
    monkeypatch.setattr(documents, "LOADER", documents.loader(yaml.SafeLoader))
    assert [outcome(text) for text in LABS] == fast
    for text in ("[" * 900, "- " * 400 + "x", 'a: "\\ud800"', 'a: "\\U0011FFFF"', "&a [*a]", "*a", "\t", "a: b: c"):
        assert isinstance(outcome(text), LabFileError)


def test_ten_thousand_pods_are_read_document_by_document() -> None:
    lab = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: many}\nspec:\n  proxy: {mode: none}\n  nodes:\n"
    lab += "".join(f"  - {{name: n{i}}}\n" for i in range(100))
    pod = (
        "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{}}}\nspec: {{containers: [{{name: a, image: agnhost}}]}}\n"
    )
    made = parse(lab + "".join(pod.format(i) for i in range(6000)), "many")
    assert len(made.pods) == 6000
    assert {sum(pod.node == node.name for pod in made.pods) for node in made.nodes} == {60}
