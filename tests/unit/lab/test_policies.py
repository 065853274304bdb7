"""NetworkPolicies: the API server's sentences, warnings, defaults, views; and policies that only Calico has."""

from __future__ import annotations

from pathlib import Path

import pytest

from nslab.admission.change import applied, applied_with_warnings
from nslab.admission.load import parse, parse_stored, parse_with_warnings
from nslab.api.selectors import Requirement
from nslab.errors import LabFileError
from nslab.lab.dump import dump
from nslab.lab.policy_views import namespaces, network_policies
from nslab.policy.model import NetworkPolicy, PolicyPeer, PolicyPort, PolicyRule

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: a-lab}
spec: {cni: {plugin: calico}, nodes: [{name: node1}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {containers: [{name: c, image: agnhost, ports: [{containerPort: 80, name: http}]}]}
---
"""
GOOD = """\
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p}
spec:
  podSelector: {matchLabels: {app: web}}
  policyTypes: [Ingress]
  ingress:
  - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
    ports: [{port: 80}]
"""


def wrong(text: str) -> list[str]:
    with pytest.raises(LabFileError) as caught:
        parse(LAB + text, "f")
    return [one.sentence for one in caught.value.errors]


def warned(text: str, lab: str = LAB) -> list[str]:
    return [str(one).removeprefix("f:") for one in parse_with_warnings(lab + text, "f")[1]]


REFUSED = (Path(__file__).with_name("policy_sentences.txt")).read_text().strip().split("\n\n")[1:]


@pytest.mark.parametrize("case", [one.split("\n") for one in REFUSED], ids=lambda case: case[0])
def test_what_an_api_server_refuses(case: list[str]) -> None:
    old, new = case[0].split(" -> ")
    assert GOOD.count(old) == 1
    name = "P_q" if "P_q" in new else "p"
    says = [f'The NetworkPolicy "{name}" is invalid: {sentence}' for sentence in case[1:]]
    assert sorted(wrong(GOOD.replace(old, new))) == sorted(says)


@pytest.mark.parametrize("version", ["crd.projectcalico.org/v1", "projectcalico.org/v3"])
@pytest.mark.parametrize("kind", ["GlobalNetworkPolicy", "NetworkPolicy"])
def test_a_policy_that_only_calico_has_is_refused(version: str, kind: str) -> None:
    text = f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: deny}}\nspec: {{selector: all()}}\n"
    says = f"{kind} deny of {version} is a policy that only Calico has, with rules that nslab does not read"
    assert wrong(text) == [f"{says}; write a NetworkPolicy of networking.k8s.io/v1, or leave it out"]
    with pytest.raises(LabFileError, match="only Calico has"):
        applied(parse(LAB + GOOD, "f"), text)


def test_other_objects_of_calico_are_kept() -> None:
    text = "apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: pool}\nspec: {cidr: 10.0.0.0/16}\n"
    assert [one.kind for one in parse(LAB + text, "f").others] == ["IPPool"]


def test_it_is_kept_with_its_defaults() -> None:
    text = GOOD.replace("  policyTypes: [Ingress]\n", "")
    lab = parse(LAB + text, "f")
    assert lab.others[0].document["spec"]["policyTypes"] == ["Ingress"]
    assert lab.others[0].document["spec"]["ingress"][0]["ports"] == [{"port": 80, "protocol": "TCP"}]
    assert parse_stored(dump(lab), "kept") == lab
    assert applied(lab, text)[1] == ("networkpolicy.networking.k8s.io/p unchanged",)


def test_nothing_is_said_of_a_policy_that_is_right() -> None:
    assert warned(GOOD) == []
    assert warned(GOOD.replace("port: 80", "port: http")) == []


def test_a_pod_in_its_nodes_network_is_not_selected() -> None:
    lab = LAB.replace("spec: {containers", "spec: {hostNetwork: true, containers")
    (found,) = parse_with_warnings(lab + GOOD, "f")[1]
    text = "NetworkPolicy p selects no pod of namespace default: app=web"
    assert found.sentence == f"{text} (none with hostNetwork is ever selected)"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "{app: web}",
            "{app: webb}",
            "15:16: NetworkPolicy p selects no pod of namespace default: app=webb",
        ),
        ("{name: p}", "{name: p, namespace: shop}", "15:16: NetworkPolicy p selects no pod of namespace shop: app=web"),
        (
            "{matchLabels: {app: web}}",
            "{matchExpressions: [{key: app, operator: NotIn, values: [web, db]}]}",
            "15:16: NetworkPolicy p selects no pod of namespace default: app notin (db,web)",
        ),
        (
            "port: 80",
            "port: htp",
            "19:20: NetworkPolicy p: no pod that it selects has a port htp (TCP); did you mean http?",
        ),
        (
            "port: 80",
            "port: http, protocol: UDP",
            "19:20: NetworkPolicy p: no pod that it selects has a port http (UDP)",
        ),
        (
            "  ingress:\n  - from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]\n    ports: [{port: 80}]\n",
            "  egress:\n  - {to: [{podSelector: {matchLabels: {app: db}}}], ports: [{port: http}]}\n",
            "18:68: NetworkPolicy p: no pod that the rule names has a port http (TCP)",
        ),
    ],
)
def test_what_is_probably_a_mistake_is_a_warning(old: str, new: str, says: str) -> None:
    assert GOOD.count(old) == 1
    assert warned(GOOD.replace(old, new)) == [says]


EXEC = """exec, config: '{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}]}'"""


@pytest.mark.parametrize(
    ("plugin", "which"),
    [
        ("kubenet", "kubenet has"),
        ("flannel", "flannel has"),
        ("none", "without a plugin there is"),
        (EXEC, "exec has"),
    ],
)
def test_a_plugin_that_enforces_none(plugin: str, which: str) -> None:
    assert warned(GOOD, LAB.replace("calico", plugin)) == [
        f"12:7: {which} nothing that enforces NetworkPolicies: pods reach each other as if there were none",
    ]


def test_each_policy_that_is_applied_where_none_is_enforced_is_warned_of() -> None:
    lab = parse(LAB.replace("calico", "kubenet") + GOOD, "f")
    _, _, warnings = applied_with_warnings(lab, GOOD.replace("{name: p}", "{name: q}"))
    assert ["nothing that enforces" in str(one) for one in warnings] == [True]


VIEWED = """\
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: a}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: p, namespace: shop}
spec:
  podSelector: {matchLabels: {b: x, a: y}, matchExpressions: [{key: a, operator: In, values: [y]}]}
  ingress: [{}]
  egress:
  - to:
    - {podSelector: {}}
    - {namespaceSelector: {matchExpressions: [{key: team, operator: Exists}]}}
    - {ipBlock: {cidr: 10.0.0.7/24, except: [10.0.0.9/32]}}
    ports: [{port: 8000, endPort: 8080}, {protocol: SCTP}, {protocol: UDP, port: dns}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: later, namespace: shop, annotations: {helm.sh/hook: test}}
spec: {podSelector: {}}
"""


def test_views() -> None:
    kept = parse(LAB + VIEWED, "f").others
    assert network_policies(kept) == (
        NetworkPolicy(
            "shop",
            "p",
            (Requirement("a", "=", ("y",)), Requirement("b", "=", ("x",)), Requirement("a", "In", ("y",))),
            (PolicyRule(),),
            (
                PolicyRule(
                    (
                        PolicyPeer(()),
                        PolicyPeer(None, (Requirement("team", "Exists"),)),
                        PolicyPeer(block="10.0.0.0/24", excepts=("10.0.0.9/32",)),
                    ),
                    (PolicyPort("TCP", 8000, 8080), PolicyPort("SCTP"), PolicyPort("UDP", "dns")),
                ),
            ),
        ),
    )
    (space,) = namespaces(kept)
    assert space.all_labels == {"team": "a", "kubernetes.io/metadata.name": "shop"}


@pytest.mark.parametrize(
    ("spec", "directions"),
    [
        ("{podSelector: {}}", (True, False)),
        ("{podSelector: {}, egress: []}", (True, False)),
        ("{podSelector: {}, egress: [{}]}", (True, True)),
        ("{podSelector: {}, policyTypes: [Egress], ingress: [{}]}", (False, True)),
        ("{policyTypes: []}", (True, False)),
    ],
)
def test_the_directions_in_which_a_policy_isolates(spec: str, directions: tuple[bool, bool]) -> None:
    head = GOOD.partition("spec:")[0]
    (policy,) = network_policies(parse(f"{LAB}{head}spec: {spec}\n", "f").others)
    assert (policy.ingress is not None, policy.egress is not None) == directions
