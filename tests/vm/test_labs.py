"""Whole labs on a kernel that has the ipip driver, and iptables of the legacy variant."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from nslab.linux import owned

if TYPE_CHECKING:
    from collections.abc import Iterator

LAB = "calico-two-node"
NODE = f"nslab.{LAB}.node1"
BLOCK = "20.109.131.0/26"
RULES = """
import iptc
table = iptc.Table(iptc.Table.NAT)
for chain in table.chains:
    for rule in chain.rules:
        matches = [f"{match.name} {sorted(match.get_all_parameters())}" for match in rule.matches]
        print(chain.name, rule.out_interface or "-", matches, rule.target.name)
"""


def nslab(*arguments: str, status: int = 0) -> str:
    done = subprocess.run([sys.executable, "-m", "nslab", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def assert_all_right(lab: str) -> None:
    said = nslab("probe", lab)
    assert "all 61 pairs right" in said
    assert "all 26 calls right" in said, "of Services"


def told(*command: str) -> Any:
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture
def lab() -> Iterator[str]:
    nslab("up", LAB)
    yield LAB
    nslab("down", LAB)
    assert not os.path.exists("/run/nslab")
    assert not [link for link in told("ip", "-j", "link") if link["ifname"].startswith(("cali", "veth"))]


def test_tunl0_is_the_driver_s(lab: str) -> None:
    (tunnel,) = told("ip", "-n", NODE, "-d", "-j", "link", "show", "dev", "tunl0")
    assert (tunnel["linkinfo"]["info_kind"], tunnel["mtu"]) == ("ipip", 1480)
    assert "UP" in tunnel["flags"]
    (route,) = told("ip", "-n", NODE, "-j", "route", "show", BLOCK)
    assert (route["gateway"], route["dev"], route["protocol"], route["flags"]) == (
        "192.168.59.23",
        "tunl0",
        "bird",
        ["onlink"],
    )
    assert Counter(record.role for record in owned.processes(lab) if record.role) == {
        "node": 3, "kube-proxy": 2, "control": 1, "pause": 5,
        "container/app": 4, "container/kubedns": 1, "container/dnsmasq": 1,
    }, "nobody is behind tunl0"  # fmt: skip


def test_everybody_is_reached_as_should_be(lab: str) -> None:
    assert_all_right(lab)


def test_the_driver_s_tunnel_goes_and_comes_with_the_encapsulation(lab: str) -> None:
    nslab("up", lab, "--encapsulation", "VXLAN")
    assert_all_right(lab)
    (tunnel,) = told("ip", "-n", NODE, "-j", "link", "show", "dev", "tunl0")  # the driver keeps it in each namespace
    assert "UP" not in tunnel["flags"]
    nslab("up", lab, "--encapsulation", "IPIP")
    assert "is as it should be" in nslab("diff", lab)
    assert_all_right(lab)


def test_what_was_broken_by_hand_is_mended(lab: str) -> None:
    for line in (
        f"ip -n {NODE} link set tunl0 down",
        f"ip netns exec {NODE} iptables -t nat -F cali-nat-outgoing",
        f"ip netns exec {NODE} ipset flush cali40masq-ipam-pools",
    ):
        subprocess.run(line.split(), check=True)
    said = nslab("diff", lab, status=1)
    assert "node1's tunl0 is down" in said
    assert "cali-nat-outgoing" in said
    assert "20.96.0.0/12" in said
    nslab("up", lab)
    assert "is as it should be" in nslab("diff", lab)


def test_python_iptables_reads_the_same_rules(lab: str) -> None:
    """A second opinion: libiptc knows nothing of our text."""
    said = nslab("exec", f"{lab}/node1", "--", sys.executable, "-c", RULES).splitlines()
    assert "POSTROUTING - [\"comment ['comment']\"] cali-POSTROUTING" in said
    assert "PREROUTING - [\"comment ['comment']\"] KUBE-SERVICES" in said
    assert any(line.startswith("cali-nat-outgoing - ") and line.endswith("MASQUERADE") for line in said)
    assert any(line.startswith("cali-POSTROUTING tunl0 ") and line.endswith("MASQUERADE") for line in said)


def test_kubenet_s_bridge_and_rule() -> None:
    nslab("up", "kubenet-two-node")
    try:
        assert_all_right("kubenet-two-node")
    finally:
        nslab("down", "kubenet-two-node")
