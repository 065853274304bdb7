"""What this lab is: policies that nothing enforces; each step of a way through it reaches its goal, and no other."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.lab("lab.yaml")

GOALS = ["closed", "web", "egress", "own-node"]
DB, BOX, WEB_1, WEB_2 = "20.96.1.2", "20.96.1.3", "20.96.1.5", "20.96.2.2"
ESTABLISHED = "-m conntrack --ctstate RELATED,ESTABLISHED"


def test_a_policy_alone_denies_nothing(lab):
    """kubenet has no Felix, and `up` says so."""
    assert not any(lab.check().values())
    assert any("nothing that enforces NetworkPolicies" in one for one in lab.warnings)
    lab.probe()


def test_the_rules_of_felix_by_hand(lab):
    """The way of the guide, with the two mistakes that everybody makes."""
    node1 = lab.node("node1")
    rules(node1, "-N TO-DB", "-A TO-DB -j DROP", f"-I FORWARD -d {DB} -j TO-DB")
    assert reached(lab) == []  # the answers to db's own calls are dropped, too
    assert "filter FORWARD > TO-DB" in lab.trace("db", "other:8080").hops[-1].cause  # though a bridge carries them
    rules(node1, f"-I TO-DB {ESTABLISHED} -j ACCEPT")
    assert reached(lab) == GOALS[:1]
    sets(node1, "web", WEB_1, WEB_2)
    rules(node1, "-I TO-DB 2 -p tcp --dport 8080 -m set --match-set web src -j ACCEPT")
    assert reached(lab) == GOALS[:2]
    sets(node1, "servers", DB, WEB_1, WEB_2)
    allowed = "-p tcp --dport 8080 -m set --match-set servers dst -j"
    rules(node1, "-N FROM-BOX", f"-A FROM-BOX {ESTABLISHED} -j ACCEPT", f"-A FROM-BOX {allowed} ACCEPT")
    rules(node1, "-A FROM-BOX -j DROP", f"-I FORWARD -s {BOX} -j FROM-BOX")
    assert reached(lab) == ["web"]  # box reaches db: nobody asks db's own chain
    rules(node1, f"-R FROM-BOX 2 {allowed} RETURN")
    assert reached(lab) == GOALS[:3]
    rules(node1, f"-I INPUT -s {BOX} -j FROM-BOX")
    assert reached(lab) == GOALS


def test_felix_reaches_every_goal(lab):
    """What it writes is one way, too."""
    lab.up((Path(__file__).parent / "lab.yaml").read_text().replace("plugin: kubenet", "plugin: calico"))
    assert reached(lab) == GOALS
    lab.probe()


def rules(node, *commands):
    """Commands for the filter table."""
    for command in commands:
        node.run("iptables", *command.split())


def sets(node, name, *addresses):
    """A set of addresses."""
    added = "".join(f"add {name} {one}\n" for one in addresses)
    node.run("ipset", "restore", text=f"create {name} hash:ip\n{added}")


def reached(lab):
    """The goals that are reached."""
    return [goal for goal, there in lab.check().items() if there]
