"""Felix's chains and sets: against a recording, rule by rule, and against what stands in dumps of real clusters."""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from itertools import takewhile

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from policy_world import DATA

from nslab.api.selectors import Requirement
from nslab.policy import felix, names, release
from nslab.policy.model import (
    Cluster,
    FelixNode,
    NamedPort,
    Namespace,
    NetworkPolicy,
    PolicyPeer,
    PolicyPort,
    PolicyRule,
    WorkloadEndpoint,
)
from nslab.policy.policy_chain import group_name, group_rules, policy_rules
from nslab.policy.render import render, sets_text
from nslab.policy.rule import signed
from nslab.policy.selectors import of_peer, of_policy
from nslab.policy.workload import dispatch
from nslab.ruletext.iptables import saved_text
from nslab.ruletext.saved import BUILT_IN, tables, target


def label(key: str, value: str) -> tuple[Requirement, ...]:
    return (Requirement(key, "=", (value,)),)


DNS = PolicyPeer(label("k8s-app", "kube-dns"), label("kubernetes.io/metadata.name", "kube-system"))
WEB = NetworkPolicy(
    "default",
    "web",
    label("app", "web"),
    (PolicyRule((PolicyPeer(label("app", "client")),), (PolicyPort("TCP", 8080),)),),
    (PolicyRule((DNS,), (PolicyPort("UDP", 53), PolicyPort("TCP", 53))),),
)
CLUSTER = Cluster(
    (WEB,),
    (
        WorkloadEndpoint("default", "web", "10.65.0.1", "node1", (("app", "web"),)),
        WorkloadEndpoint("default", "client", "10.65.0.2", "node1", (("app", "client"),)),
        WorkloadEndpoint("kube-system", "dns", "10.65.1.1", "node2", (("k8s-app", "kube-dns"),)),
    ),
    (Namespace("kube-system"),),
    ("10.65.0.0/16",),
)
NODE = FelixNode("node1", ("192.168.59.22", "10.65.0.64"), "tunl0", ("192.168.59.22", "192.168.59.23"))
RECORDED, SETS = ((DATA / "rules" / f"calico-policy.{kind}").read_text() for kind in ("rules", "sets"))
SPELT = (
    ("--jump", "-j"), ("--goto", "-g"), ("--in-interface", "-i"), ("--out-interface", "-o"), ("-p 4 ", "-p ipencap "),
    ("-p 17 ", "-p udp "), ("--destination-ports", "--dports"), ("--mark 0/", "--mark 0x0/"),
    ("--set-mark 0/", "--set-xmark 0x0/"), ("--set-mark", "--set-xmark"),
)  # fmt: skip
"""Felix's words, in which the recording was made, and iptables-save's."""


def chains(text: str) -> dict[tuple[str, str], list[list[str]]]:
    """The words of the rules of each chain, sorted: iptables-save puts matches on headers first."""
    found = defaultdict(list)
    for table, own in tables(text).items():
        for chain in own.values():
            found[table, chain.name] += [sorted(re.findall(r'"[^"]*"|\S+', rule)) for rule in chain.rules]
    return found


def hashes(rules: tuple[str, ...]) -> list[str]:
    return [found[1] for rule in rules if (found := re.search("cali:(.{16})", rule))]


def test_a_node_is_as_recorded_rule_by_rule() -> None:
    recorded = RECORDED
    for theirs, ours in SPELT:
        recorded = recorded.replace(theirs, ours)
    mine = chains(saved_text(felix.items(CLUSTER, NODE)))
    assert mine == chains(recorded)
    assert sum(map(len, mine.values())) == 114


def test_its_sets_are_as_recorded() -> None:
    mine = sets_text(felix.items(CLUSTER, NODE)).replace(" hashsize 1024", "")
    assert sorted(mine.splitlines()) == sorted(SETS.splitlines())


def test_vxlan_on_3_28_has_the_hashes_of_a_real_node() -> None:
    """They stand in public dumps, made before 3.30."""
    items = felix.items(Cluster(), FelixNode("n", (), "vxlan.calico", ("192.168.59.23",), "3.28"))
    assert {name: hashes(items["chain", "filter", f"cali-{name}"]) for name in ("FORWARD", "INPUT", "OUTPUT")} == {
        "FORWARD": [
            "vjrMJCRpqwy5oRoX", "A_sPAO0mcxbT9mOV", "8ZoYfO5HKXWbB3pk", "jdEuaPBe14V2hutn", "12bc6HljsMKsmfr-",
            "NOSxoaGx8OIstr1z",
        ],
        "INPUT": [
            "J76FwxInZIsk7uKY", "EDCNTTxYfggApx8C", "H03xYXARh4e8pwd4", "MN6K3isIWBigb1Va", "OSYphBLwOgic22Hz",
            "rmi2_piRVmfeiwVp", "F7Q8zu44qIbOVben",
        ],
        "OUTPUT": [
            "Mq1_rAdXXH3YkrzW", "69FkRTJDvD5Vu6Vl", "-QZG79DohFjalQBb", "iC1pSPgbvgQzkUk_", "4Zh7KtRvt4W5AEBR",
            "Y0k-bqjt-5CUqyUq",
        ],
    }  # fmt: skip
    assert items["chain", "raw", "cali-OUTPUT"][2].startswith("-p udp -m comment ")
    assert items["chain", "raw", "cali-OUTPUT"][2].endswith(" -m udp --dport 4789 -j CT --notrack")


def test_without_encapsulation_no_packet_of_a_tunnel_is_expected() -> None:
    text = render(felix.items(CLUSTER, FelixNode("node1", ("192.168.59.22",))))
    assert "Allow" not in text
    assert "cali40all-" not in text.replace("cali40all-ipam-pools", "")


def test_names() -> None:
    client = of_peer(PolicyPeer(label("app", "ubuntu-client")), "default")
    assert names.selector_id(client) == "s:nzE8vwTu69FSscx2FDKjb20D9dZxEyVxsWFqwA"
    assert names.named_port_id("all()", "tcp", "serve-80-tcp") == "n:y8TuuFmUHD05e7OHT3RUKn2hUjdTW3uauyD9Sg"
    assert names.chain("cali-pri-", "ksa.kube-system.coredns") == "cali-pri-_u2Tn2rSoAPffvE7JO6"
    assert names.chain("cali-pri-", "kns.default") == "cali-pri-kns.default"
    assert [names.chain("cali-pi-", release.key(release.RELEASES[one], WEB)) for one in release.RELEASES] == [
        "cali-pi-_2a20BaSPViEz4XFucWR", "cali-pi-_u7u2r6vXacg_5gxJvpo", "cali-pi-knp/default/web",
    ]  # fmt: skip


@pytest.mark.parametrize("account", ["x\n-F", 'a"', "a b", "é", "-"])
def test_no_name_leaves_its_line(account: str) -> None:
    """A name of Kubernetes has no such characters, but nobody need believe that."""
    pod = WorkloadEndpoint("a", "b", "10.65.0.1", "node1", service_account=account)
    text = saved_text(felix.items(Cluster((), (pod,)), NODE))
    assert [line for line in text.splitlines() if not re.fullmatch(r'[-*:A-Za-z0-9 ."/@=+,!_\[\]]+', line)] == []
    assert "\n-F" not in text


def test_the_texts_of_selectors() -> None:
    listed = (Requirement("b", "In", ("z", "a")), Requirement("a", "Exists"), Requirement("c", "DoesNotExist"))
    none = Requirement("tier", "NotIn", ("x",))
    pods = '(projectcalico.org/orchestrator == "k8s" && b in {"a", "z"} && has(a) && !has(c))'
    assert [
        of_peer(peer, "shop") for peer in (PolicyPeer(()), PolicyPeer(None, ()), PolicyPeer(listed, (none, none)))
    ] == [
        '(projectcalico.org/namespace == "shop" && projectcalico.org/orchestrator == "k8s")',
        '(has(projectcalico.org/namespace) && projectcalico.org/orchestrator == "k8s")',
        f'((pcns.tier not in {{"x"}} && pcns.tier not in {{"x"}}) && {pods})',
    ]
    assert of_policy(WEB) == (
        '((projectcalico.org/orchestrator == "k8s" && app == "web") && projectcalico.org/namespace == "default")'
    )


def test_neighbours_with_one_selector_are_a_group() -> None:
    stack = [NetworkPolicy("x", f"p8{number}", label("pod", "a"), ()) for number in range(2)]
    assert group_name(release.RELEASES["3.30"], stack, "ingress") == "cali-gi-f27aWX9dBC-9ilP6Hxtd"
    policies = [NetworkPolicy("x", f"p{number}", label("pod", "a"), ()) for number in range(7)]
    lines = [
        re.sub("cali:.{16}|cali-pi-.*", "", rule)
        for rule in signed("c", group_rules(release.RELEASES["3.30"], policies, "ingress"))
    ]
    bare, unless = '-m comment --comment "" -j ', '-m comment --comment "" -m mark --mark 0x0/0x30000 -j '
    stop = '-m comment --comment "" -m comment --comment "Return on verdict" -m mark ! --mark 0x0/0x30000 -j RETURN'
    assert lines == [bare, *[unless] * 4, stop, bare, unless]


def test_policies_of_one_pod_are_asked_by_name() -> None:
    policies = (
        NetworkPolicy("x", "c", (), ()),
        NetworkPolicy("x", "b", label("pod", "a"), ()),
        NetworkPolicy("x", "a", (), ()),
        NetworkPolicy("x", "d", label("pod", "b"), ()),
        NetworkPolicy("y", "a", (), ()),
    )
    pod = WorkloadEndpoint("x", "a", "10.65.0.1", "node1", (("pod", "a"),))
    items = felix.items(Cluster(policies, (pod,)), NODE)
    jumps = [target(rule) for rule in items["chain", "filter", f"cali-tw-{pod.interface}"]]
    keys = (f"default/x/knp.default.{name}" for name in "abc")
    assert [one for one in jumps if one.startswith("cali-pi-")] == [names.chain("cali-pi-", key) for key in keys]
    assert len([item for item in items if item[0] == "chain" and item[2].startswith("cali-pi-")]) == 3, (
        "unused policies are not written"
    )


COLLECTED = "-m mark --mark 0x80000/0x80000 -j MARK --set-xmark 0x10000/0x10000"
ODD = "1,3,5,7,9,11,13,15,17,19,21,23,25,27,29"
EVERY_SCTP = PolicyPort("SCTP"), PolicyPort("SCTP", 7)
BLOCK = PolicyPeer(block="10.0.0.0/8", excepts=("10.1.0.0/16", "10.2.0.0/16"))


@pytest.mark.parametrize(
    ("rule", "lines"),
    [
        (PolicyRule(), ["-j MARK --set-xmark 0x10000/0x10000"]),
        (
            PolicyRule((PolicyPeer(block="0.0.0.0/0"), PolicyPeer(block="fd00::/8"), PolicyPeer(block="10.0.0.1/32"))),
            [
                "-j MARK --set-xmark 0x10000/0x10000",
                "-m mark --mark 0x10000/0x10000 -j RETURN",
                "-s 10.0.0.1/32 -j MARK --set-xmark 0x10000/0x10000",
            ],
        ),
        (
            PolicyRule((BLOCK,), (PolicyPort("UDP", 80), PolicyPort("UDP", 81), PolicyPort("UDP", 90, 99))),
            [
                "-j MARK --set-xmark 0x80000/0x180000",
                "-s 10.1.0.0/16 -j MARK --set-xmark 0x0/0x80000",
                "-s 10.2.0.0/16 -j MARK --set-xmark 0x0/0x80000",
                f"-s 10.0.0.0/8 -p udp -m multiport --dports 80:81,90:99 {COLLECTED}",
            ],
        ),
        (
            PolicyRule((), (PolicyPort("TCP", "web"), PolicyPort("TCP", 80), *EVERY_SCTP)),
            [
                "-p sctp -j MARK --set-xmark 0x10000/0x10000",
                "-m mark --mark 0x10000/0x10000 -j RETURN",
                "-j MARK --set-xmark 0x0/0x180000",
                "-p tcp -m multiport --dports 80 -j MARK --set-xmark 0x80000/0x80000",
                "-m set --match-set cali40n:-41d8CgYX-xMwTntiNM-X5c dst,dst -j MARK --set-xmark 0x80000/0x80000",
                f"-p tcp {COLLECTED}",
            ],
        ),
        (
            PolicyRule((), tuple(PolicyPort("TCP", number) for number in range(1, 33, 2))),
            [
                "-j MARK --set-xmark 0x0/0x180000",
                f"-p tcp -m multiport --dports {ODD} -j MARK --set-xmark 0x80000/0x80000",
                "-p tcp -m multiport --dports 31 -j MARK --set-xmark 0x80000/0x80000",
                f"-p tcp {COLLECTED}",
            ],
        ),
    ],
    ids=["all", "blocks", "except", "names and numbers", "many ports"],
)  # fmt: skip
def test_the_rules_of_a_policy(rule: PolicyRule, lines: list[str]) -> None:
    policy = NetworkPolicy("shop", "p", (), (rule,))
    found = signed("c", policy_rules(release.RELEASES["3.30"], policy, "ingress"))
    assert [re.sub('-m comment --comment "[^"]*" ', "", line) for line in found] == lines
    assert [line for line in found if '"Policy shop/knp.default.p ingress"' in line] == [found[0]]


def test_a_policy_without_rules_is_a_comment() -> None:
    (rule,) = signed("c", policy_rules(release.RELEASES["3.32"], NetworkPolicy("shop", "p", (), ()), "egress"))
    assert rule.endswith(' -m comment --comment "KubernetesNetworkPolicy shop/p egress"')


def test_a_named_port_is_a_set_of_the_pods_that_have_it() -> None:
    port, peer = PolicyPort("TCP", "web"), PolicyPeer(label("app", "db"))
    policy = NetworkPolicy("x", "p", (), (PolicyRule((peer,), (port,)),), (PolicyRule((peer,), (port,)),))
    ports = (NamedPort("web", 8080), NamedPort("web", 53, "UDP"), NamedPort("other", 1))
    here = WorkloadEndpoint("x", "a", "10.65.0.1", "node1", ports=ports)
    there = WorkloadEndpoint("x", "b", "10.65.1.1", "node2", (("app", "db"),), ports=ports)
    elsewhere = WorkloadEndpoint("y", "c", "10.65.1.2", "node2", (("app", "db"),), ports=ports)
    items = felix.items(Cluster((policy,), (here, there, elsewhere)), NODE)
    members = {
        item[1]: [one[2] for one in items if one[:2] == ("member", item[1])] for item in items if item[0] == "ipset"
    }
    own = {name: found for name, found in members.items() if name.startswith(("cali40s:", "cali40n:"))}
    assert sorted(own.values()) == [
        ["10.65.0.1,tcp:8080", "10.65.1.1,tcp:8080", "10.65.1.2,tcp:8080"],  # ingress: whoever has it
        ["10.65.1.1"],  # its peers
        ["10.65.1.1,tcp:8080"],  # egress: the peers that have it; they need no other set
    ]


@pytest.mark.parametrize(
    ("interfaces", "lines"),
    [
        ([], ["cali-to-wl-dispatch: DROP"]),
        (["cali1"], ["cali-to-wl-dispatch: cali1 -> cali-tw-cali1, DROP"]),
        (
            ["calib2", "calia1", "calib1"],
            [
                "cali-to-wl-dispatch-b: calib1 -> cali-tw-calib1, calib2 -> cali-tw-calib2, DROP",
                "cali-to-wl-dispatch: calia1 -> cali-tw-calia1, calib+ -> cali-to-wl-dispatch-b, DROP",
            ],
        ),
    ],
)
def test_the_way_to_a_pods_chain(interfaces: list[str], lines: list[str]) -> None:
    def short(rule: str) -> str:
        found = re.search("^-o (\\S+) .* -g (\\S+)$", rule)
        return f"{found[1]} -> {found[2]}" if found else rule.rpartition(" ")[2]

    made = dispatch(interfaces, "ingress")
    assert [f"{name}: {', '.join(map(short, signed(name, rules)))}" for name, rules in made] == lines


def test_a_chain_comes_after_those_to_which_it_jumps() -> None:
    """A large table is written in several transactions, in this order."""
    policies = tuple(NetworkPolicy("default", f"p{number}", (), (), ()) for number in range(3))
    items = felix.items(Cluster((WEB, *policies), CLUSTER.workloads), NODE)
    for table in ("raw", "mangle", "nat", "filter"):
        own = [item[2] for item in items if item[:2] == ("chain", table)]
        for number, name in enumerate(own):
            for rule in items["chain", table, name]:
                to = target(rule)
                assert to not in own or to in own[:number], (name, to)
        jumps = [target(item[3]) for item in items if item[:2] == ("jump", table)]
        assert {*jumps} <= {*own, "ACCEPT", "MARK"}
        assert all(item[2] in BUILT_IN[table] for item in items if item[:2] == ("jump", table))


def test_only_a_policys_own_hashes_change_with_it() -> None:
    """The first changed rule of a chain is found by its hash: those before it stay."""
    xx = NetworkPolicy("default", "xx", label("app", "web"), None, ())
    pods, spaces = CLUSTER.workloads, CLUSTER.namespaces
    more = felix.items(Cluster((xx, WEB), pods, spaces, CLUSTER.pools), NODE)
    before = felix.items(CLUSTER, NODE)
    web = pods[0].interface
    changed = {item[2] for item, body in more.items() if before.get(item) != body}
    group = group_name(release.RELEASES["3.30"], [WEB, xx], "egress")
    assert changed == {f"cali-fw-{web}", group, names.chain("cali-po-", "default/default/knp.default.xx")}
    old, new = (hashes(items["chain", "filter", f"cali-fw-{web}"]) for items in (before, more))
    assert len([*takewhile(lambda pair: pair[0] == pair[1], zip(old, new, strict=True))]) == 6
