"""The ClientIP affinity that a traced packet makes, of the rules that matched."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest

from nslab.probes.evidence import What
from nslab.trace.affinity import Pinned, pinned
from nslab.trace.observed import Crossing, Header, Match, Visit

POD = IPv4Address("10.0.0.1")
HEADER = Header(POD, IPv4Address("10.96.0.4"), 6, (40000, 80), 64, 60)
SET = (
    "-p tcp -m recent --set --name KUBE-SEP-A --mask 255.255.255.255 --rsource -m tcp -j DNAT --to-destination 10.0.0.2"
)
ASK = "-m recent --rcheck --seconds 9 --reap --name {} --mask 255.255.255.255 --rsource -j KUBE-SEP-A"


@pytest.mark.parametrize(
    ("table", "rules", "entry"),
    [
        ("nat", ["-j KUBE-SVC-B", SET], ("", "KUBE-SEP-A", False)),
        ("nat", [ASK.format("KUBE-SEP-A"), SET], ("", "KUBE-SEP-A", True)),
        ("nat", [ASK.format("KUBE-SEP-AB"), SET], ("", "KUBE-SEP-A", False)),
        ("kube-proxy", ["update @affinity-a { ip saddr }"], ("kube-proxy", "affinity-a", False)),
        (
            "kube-proxy",
            ["ip saddr @affinity-a goto endpoint-a", "update @affinity-a { ip saddr timeout 9s }"],
            ("kube-proxy", "affinity-a", True),
        ),
        ("filter", ["-m recent --rcheck --name KUBE-SEP-A -j DROP", "ip saddr @affinity-a drop"], None),
    ],
)
def test_what_a_rule_keeps(table: str, rules: list[str], entry: tuple[str, str, bool] | None) -> None:
    matches = tuple(Match(table, "c", "continue", rule=rule) for rule in rules)
    visit = Visit(table, "c", 0, -100, HEADER, 0, matches, "accept")
    crossing = Crossing(
        "node1", What.REQUEST, tunnelled=False, iif="eth0", oif="", header=HEADER, mark=0, visits=(visit,)
    )
    expected = [Pinned("node1", entry[0], entry[1], POD, entry[2])] if entry else []
    assert [*pinned([crossing])] == expected
