"""What this lab shows: nodes tell each other their blocks by BGP, and BIRD writes the routes."""

import time

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")
BLOCKS = {"node1": "20.111.156.0/26", "node2": "20.109.131.0/26", "node3": "20.108.66.64/26"}


def wait(true, seconds=30):
    """Return when it is so; fail after a while."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def established(node):
    """How many sessions of a node are up."""
    return node.run("birdcl", "show", "protocols").stdout.count("Established")


def test_each_node_speaks_with_each(lab):
    """A full mesh: two sessions on each of three nodes."""
    wait(lambda: all(established(lab.node(name)) == 2 for name in BLOCKS))


def test_bird_puts_back_what_somebody_takes_away(lab):
    """Its routes are those that the lab was made with."""
    node1 = lab.node("node1")
    before = node1.json("ip", "-j", "route", "show", "proto", "bird")
    assert {route["dst"] for route in before} == {*BLOCKS.values()}
    node1.run("ip", "route", "flush", "proto", "bird")
    wait(lambda: node1.json("ip", "-j", "route", "show", "proto", "bird") == before)
    lab.probe()
    assert lab.diff() == []
