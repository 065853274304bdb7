"""Texts for `iptables-restore`: one transaction a table, or many small ones in which no packet gets lost."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from nslab.ruletext.iptables import BLOCK, block, iptables_text, sysctl_commands

if TYPE_CHECKING:
    from nslab.ruletext.items import Items

SERVICES, SVC, SEP = (("chain", "nat", f"KUBE-{name}") for name in ("SERVICES", "SVC-A", "SEP-A"))
JUMP = ("jump", "nat", "OUTPUT", "-j KUBE-SERVICES", "first")
ALL: Items = {SERVICES: ("-d 10.96.0.1 -j KUBE-SVC-A",), SVC: ("-j KUBE-SEP-A",), SEP: ("-j DNAT",), JUMP: ()}


def transactions(text: str) -> list[list[str]]:
    """The lines of each, without its first and its last."""
    lines = text.splitlines()
    cut = [list(group) for ends, group in itertools.groupby(lines, lambda line: line == "COMMIT") if not ends]
    assert all(lines[0] == "*nat" for lines in cut)
    return [lines[1:] for lines in cut]


def test_one_transaction_for_a_table() -> None:
    assert transactions(iptables_text({}, ALL)) == [
        [
            ":KUBE-SERVICES - [0:0]", ":KUBE-SVC-A - [0:0]", ":KUBE-SEP-A - [0:0]",
            "-A KUBE-SERVICES -d 10.96.0.1 -j KUBE-SVC-A", "-A KUBE-SVC-A -j KUBE-SEP-A", "-A KUBE-SEP-A -j DNAT",
            "-I OUTPUT 1 -j KUBE-SERVICES",
        ]
    ]  # fmt: skip
    assert iptables_text({}, {}) == ""


def test_in_small_ones_a_chain_comes_after_those_that_it_jumps_to() -> None:
    assert transactions(iptables_text({}, ALL, block=1)) == [
        [":KUBE-SEP-A - [0:0]", "-A KUBE-SEP-A -j DNAT"],
        [":KUBE-SVC-A - [0:0]", "-A KUBE-SVC-A -j KUBE-SEP-A"],
        [":KUBE-SERVICES - [0:0]", "-A KUBE-SERVICES -d 10.96.0.1 -j KUBE-SVC-A"],
        ["-I OUTPUT 1 -j KUBE-SERVICES"],
    ]


def test_in_small_ones_all_are_emptied_before_the_first_goes() -> None:
    assert transactions(iptables_text(ALL, {}, block=1)) == [
        ["-D OUTPUT -j KUBE-SERVICES"],
        [":KUBE-SERVICES - [0:0]"], [":KUBE-SVC-A - [0:0]"], [":KUBE-SEP-A - [0:0]"],
        ["-X KUBE-SERVICES"], ["-X KUBE-SVC-A"], ["-X KUBE-SEP-A"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("program", "most"),
    [("/usr/sbin/xtables-nft-multi", BLOCK), ("iptables-nft", BLOCK), ("/usr/sbin/xtables-legacy-multi", 0)],
)
def test_which_iptables_needs_small_ones(program: str, most: int) -> None:
    assert block(program) == most


def test_a_setting_that_is_not_wanted_any_more_gets_its_default() -> None:
    arp = ("sysctl", "net/ipv4/conf/all/arp_ignore", "0")
    (gone,), (come,) = sysctl_commands({arp: ("1",)}, {}), sysctl_commands({}, {arp: ("1",)})
    assert gone.argv == ("sysctl", "-qw", "net/ipv4/conf/all/arp_ignore=0")
    assert come.argv == ("sysctl", "-qw", "net/ipv4/conf/all/arp_ignore=1")
    assert sysctl_commands({}, {}) == ()
