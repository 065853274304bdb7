"""What this lab is: Services that nobody carries; each step of a way through it reaches its goal, and no other."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml")

GOALS = ["cluster-ip", "both", "hairpin", "node", "node-port", "refused", "second-node"]
ONE, TWO, WEB, NOBODY = "20.96.1.2", "20.96.2.2", "10.103.9.116", "10.103.9.117"


def test_without_rules_no_goal_is_reached(lab):
    """But the Pods' own network is there."""
    assert not any(lab.check().values())
    assert lab.pod("shell").http(f"{TWO}:8080/hostname").text == "web-2"
    assert lab.diff() == []


def test_the_rules_of_a_kube_proxy_by_hand(lab):
    """The way of the guide, with the mistake that everybody makes."""
    node1, node2 = lab.node("node1"), lab.node("node2")
    nat(node1, "-N SERVICES", "-A PREROUTING -j SERVICES", "-N EP-1", "-N SVC-WEB", "-A SVC-WEB -j EP-1")
    nat(node1, f"-A EP-1 -p tcp -j DNAT --to-destination {ONE}:8080")
    nat(node1, f"-A SERVICES -d {WEB} -p tcp --dport 80 -j SVC-WEB")
    assert reached(lab) == GOALS[:1]
    half = "-A SVC-WEB -m statistic --mode random --probability 0.5 -j"
    nat(node1, "-N EP-2", f"-A EP-2 -p tcp -j DNAT --to-destination {TWO}:8080")
    nat(node1, "-F SVC-WEB", f"{half} EP-1", f"{half} EP-2")
    assert "both" not in reached(lab)  # a quarter of all is left over
    nat(node1, "-R SVC-WEB 2 -j EP-2")
    assert reached(lab) == GOALS[:2]
    nat(node1, "-N MARK-MASQ", "-A MARK-MASQ -j MARK --or-mark 0x1")
    nat(node1, "-I POSTROUTING -m mark --mark 0x1/0x1 -j MASQUERADE")
    nat(node1, f"-I EP-1 -s {ONE} -j MARK-MASQ", f"-I EP-2 -s {TWO} -j MARK-MASQ")
    assert reached(lab) == GOALS[:3]
    nat(node1, "-A OUTPUT -j SERVICES")
    assert reached(lab) == GOALS[:4]
    nat(node1, "-N EXT-WEB", "-A EXT-WEB -j SVC-WEB")
    nat(node1, "-A SERVICES -m addrtype --dst-type LOCAL -p tcp --dport 31080 -j EXT-WEB")
    assert reached(lab) == GOALS[:4]  # web-2 answers the client past node1
    nat(node1, "-I EXT-WEB -j MARK-MASQ")
    assert reached(lab) == GOALS[:5]
    for chain in ("FORWARD", "OUTPUT"):
        node1.run("iptables", "-A", chain, *f"-d {NOBODY} -p tcp --dport 80 -j REJECT".split())
    assert reached(lab) == GOALS[:6]
    rules = node1.run("iptables-save").stdout
    node2.run("iptables-restore", text=rules)
    assert reached(lab) == GOALS
    assert lab.diff() == []


@pytest.mark.lab("lab.yaml", proxy_mode="iptables")
def test_kube_proxy_reaches_every_goal(lab):
    """What it writes is one way, too."""
    assert reached(lab) == GOALS


def nat(node, *commands):
    """Commands for the nat table."""
    for command in commands:
        node.run("iptables", "-t", "nat", *command.split())


def reached(lab):
    """The goals that are reached."""
    return [goal for goal, there in lab.check().items() if there]
