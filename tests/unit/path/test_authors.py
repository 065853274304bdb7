"""Whose a rule is: the component that the lab's State has it from, or nobody's of the lab."""

from __future__ import annotations

import pytest

from nslab.objects.iptables import Chain, Jump
from nslab.objects.nft import NftChain
from nslab.ruletext.comments import comment_of
from nslab.trace.authors import BY_HAND, Authors
from nslab.trace.observed import Match

NS = "nslab.lab.node1"
STATE = (
    Chain(NS, "filter", "KUBE-FORWARD", ("-m conntrack --ctstate INVALID -j DROP", "-j ACCEPT"), by="kube-proxy"),
    Chain(NS, "filter", "cali-FORWARD", ('-m comment --comment "a \\"b\\" c" -j DROP',), by="Felix"),
    Jump(NS, "filter", "FORWARD", "-m comment --comment jump -j KUBE-FORWARD", by="kube-proxy"),
    NftChain(
        NS, "kube-proxy", "services", "", ('ip daddr 10.96.1.1 th dport 80 goto web comment "w"',), by="kube-proxy"
    ),
)
LISTED = {(NS, "kube-proxy", "services"): {"ip daddr 10.96.1.1 tcp dport 80 goto web"}}


@pytest.mark.parametrize(
    ("table", "chain", "rule", "by"),
    [
        ("filter", "KUBE-FORWARD", "-j ACCEPT", "kube-proxy"),
        ("filter", "KUBE-FORWARD", "-j DROP", BY_HAND),
        ("filter", "cali-FORWARD", "-j DROP", "Felix"),
        ("filter", "cali-FORWARD", "-j ACCEPT", BY_HAND),
        ("filter", "FORWARD", "-j KUBE-FORWARD", "kube-proxy"),
        ("filter", "INPUT", "-j KUBE-FORWARD", BY_HAND),
        ("filter", "KUBE-FORWARD", "", "kube-proxy"),
        ("filter", "MINE", "", ""),
        ("kube-proxy", "services", "ip daddr 10.96.1.1 tcp dport 80 goto web", "kube-proxy"),
        ("kube-proxy", "services", "ip daddr 10.96.1.1 drop", BY_HAND),
        ("mine", "services", "drop", BY_HAND),
    ],
)
def test_whose_a_rule_is(table: str, chain: str, rule: str, by: str) -> None:
    match = Match(table, chain, "drop", "", rule, "", 7, 1.0)
    assert Authors("lab", STATE, LISTED).of_rule("node1", match) == by


def test_of_a_chain_of_nft_that_nobody_listed_all_is_its_owners() -> None:
    match = Match("kube-proxy", "services", "drop", "", "ip daddr 10.96.1.1 drop", "", 7, 1.0)
    assert Authors("lab", STATE).of_rule("node1", match) == "kube-proxy"


def test_a_rule_of_felix_is_named_by_its_words_not_by_its_signature() -> None:
    signed = '-m comment --comment "cali:019iikccrJ9NDYrR"'
    assert (
        comment_of(f'{signed} -m comment --comment "Drop if no profiles matched" -j DROP')
        == "Drop if no profiles matched"
    )
    assert comment_of(f"{signed} -j RETURN") == "cali:019iikccrJ9NDYrR"
    assert comment_of('counter drop comment "cali:019iikccrJ9NDYrR; Unknown interface"') == "Unknown interface"
    assert comment_of('counter return comment "cali:019iikccrJ9NDYrR;"') == "cali:019iikccrJ9NDYrR;"
