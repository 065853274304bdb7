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
from tests.kernel.labkit import nslab

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.pytest_plugin.running import RunningLab

pytestmark = pytest.mark.lab("calico-two-node", scope="module")
BLOCK = "20.109.131.0/26"
RULES = """
import iptc
table = iptc.Table(iptc.Table.NAT)
for chain in table.chains:
    for rule in chain.rules:
        matches = [f"{match.name} {sorted(match.get_all_parameters())}" for match in rule.matches]
        print(chain.name, rule.out_interface or "-", matches, rule.target.name)
"""


def assert_all_right(lab: RunningLab) -> None:
    done = nslab("probe", lab.name)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "all 61 pairs right" in done.stdout
    assert "all 26 calls right" in done.stdout, "of Services"


def shown(*command: str) -> Any:
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module", autouse=True)
def _nothing_left() -> Iterator[None]:
    """The last to be torn down: after the module's labs."""
    yield
    assert not os.path.exists("/run/nslab")
    assert not [link for link in shown("ip", "-j", "link") if link["ifname"].startswith(("cali", "veth"))]


def test_tunl0_is_the_driver_s(lab: RunningLab) -> None:
    (tunnel,) = shown("ip", "-n", lab.node("node1").netns, "-d", "-j", "link", "show", "dev", "tunl0")
    assert (tunnel["linkinfo"]["info_kind"], tunnel["mtu"]) == ("ipip", 1480)
    assert "UP" in tunnel["flags"]
    (route,) = shown("ip", "-n", lab.node("node1").netns, "-j", "route", "show", BLOCK)
    assert (route["gateway"], route["dev"], route["protocol"], route["flags"]) == (
        "192.168.59.23",
        "tunl0",
        "bird",
        ["onlink"],
    )
    assert Counter(record.role for record in owned.processes(lab.name) if record.role) == {
        "node": 3, "kube-proxy": 2, "control": 1, "pause": 5,
        "container/app": 4, "container/kubedns": 1, "container/dnsmasq": 1,
    }, "nobody is behind tunl0"  # fmt: skip


def test_everybody_is_reached_as_should_be(lab: RunningLab) -> None:
    assert_all_right(lab)


def test_the_driver_s_tunnel_goes_and_comes_with_the_encapsulation(lab: RunningLab) -> None:
    lab.up("calico-two-node", encapsulation="VXLAN")
    assert_all_right(lab)
    # The driver keeps it in each namespace.
    (tunnel,) = shown("ip", "-n", lab.node("node1").netns, "-j", "link", "show", "dev", "tunl0")
    assert "UP" not in tunnel["flags"]
    lab.up("calico-two-node", encapsulation="IPIP")
    assert lab.diff() == []
    assert_all_right(lab)


def test_what_was_broken_by_hand_is_mended(lab: RunningLab) -> None:
    lab.sh("node1", "ip link set tunl0 down")
    lab.sh("node1", "iptables -t nat -F cali-nat-outgoing")
    lab.sh("node1", "ipset flush cali40masq-ipam-pools")
    done = nslab("diff", lab.name)
    assert done.returncode == 1
    assert "node1's tunl0 is down" in done.stdout
    assert "cali-nat-outgoing" in done.stdout
    assert "20.96.0.0/12" in done.stdout
    lab.mend()
    assert lab.diff() == []


def test_python_iptables_reads_the_same_rules(lab: RunningLab) -> None:
    """A second opinion: libiptc knows nothing of our text."""
    output = lab.node("node1").run(sys.executable, "-c", RULES).stdout.splitlines()
    assert "POSTROUTING - [\"comment ['comment']\"] cali-POSTROUTING" in output
    assert "PREROUTING - [\"comment ['comment']\"] KUBE-SERVICES" in output
    assert any(line.startswith("cali-nat-outgoing - ") and line.endswith("MASQUERADE") for line in output)
    assert any(line.startswith("cali-POSTROUTING tunl0 ") and line.endswith("MASQUERADE") for line in output)


@pytest.mark.lab("kubenet-two-node")
def test_kubenet_s_bridge_and_rule(lab: RunningLab) -> None:
    assert_all_right(lab)
