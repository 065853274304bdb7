"""A Felix that starts finds what one before it has written, and leaves everybody else's alone."""

from __future__ import annotations

from nslab.policy import change, felix
from nslab.policy.found import UNREAD, found, looks
from nslab.policy.model import Cluster, FelixNode, WorkloadEndpoint
from nslab.policy.render import sets_text
from nslab.ruletext.iptables import saved_text

NODE = FelixNode("node1", ("192.168.59.22",), "tunl0", ("192.168.59.23",))
ITEMS = felix.items(Cluster((), (WorkloadEndpoint("x", "a", "20.96.0.2", "node1"),), (), ("20.96.0.0/12",)), NODE)
OTHERS = """*filter
:KUBE-FORWARD - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
COMMIT
"""


def test_it_looks_with_the_programs_of_the_machine() -> None:
    assert [look.argv for look in looks("iptables-nft")] == [("iptables-nft-save",), ("ipset", "save")]


def test_what_is_whole_is_found_whole_but_for_the_rules_of_chains() -> None:
    there = found([saved_text(ITEMS) + OTHERS, sets_text(ITEMS) + "create mine hash:net\nadd mine 10.0.0.0/8\n"], ITEMS)
    assert there.keys() == ITEMS.keys()
    assert {item: body for item, body in there.items() if body != UNREAD} == {
        item: body for item, body in ITEMS.items() if item[0] != "chain"
    }


def test_a_jump_that_is_there_is_not_written_twice_and_what_is_missing_is() -> None:
    text = saved_text(ITEMS)
    missing = next(line for line in text.splitlines() if line.startswith("-A INPUT "))
    there = found([text.replace(f"{missing}\n", ""), sets_text(ITEMS)], ITEMS)
    (restore,) = change.commands(there, ITEMS, "iptables-legacy")
    jumps = [line for line in restore.text.splitlines() if line.startswith(("-I ", "-D ")) or "-A FORWARD " in line]
    assert jumps == [missing.replace("-A INPUT ", "-I INPUT 1 ")]


def test_what_nobody_wants_any_more_goes() -> None:
    stale = """*filter
:cali-pi-old - [0:0]
-A INPUT -m comment --comment "cali:0123456789abcdef" -j cali-pi-old
-A cali-pi-old -m comment --comment "cali:aaaaaaaaaaaaaaaa" -j ACCEPT
COMMIT
"""
    there = found([saved_text(ITEMS) + stale, sets_text(ITEMS) + "create cali40s:old hash:net\n"], ITEMS)
    restore, sets = change.commands(there, ITEMS, "iptables-legacy")
    assert '-D INPUT -m comment --comment "cali:0123456789abcdef" -j cali-pi-old' in restore.text.splitlines()
    assert "-X cali-pi-old" in restore.text.splitlines()
    assert sets.text == "destroy cali40s:old\n"
