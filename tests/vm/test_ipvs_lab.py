"""A whole lab in ipvs mode, into it and out of it."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

LAB = "calico-two-node"
NODE, CLIENT, POD = (f"nslab.{LAB}.{host}" for host in ("node1", "client", "pod-b"))
NODE_PORT, CLUSTER_IP = "192.168.59.23:31080", "10.103.9.116:8080"


def nslab(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "nslab", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def said(ns: str, line: str) -> str:
    argv = ["ip", "netns", "exec", ns, *line.split()]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def answers(ns: str, where: str) -> bool:
    return said(ns, f"curl -s --max-time 10 http://{where}/hostname") == "pod-b"


@pytest.fixture
def lab() -> Iterator[str]:
    nslab("up", LAB, "--proxy-mode", "ipvs")
    yield LAB
    nslab("down", LAB)


def test_into_ipvs_mode_and_out_of_it(lab: str) -> None:
    assert "is as it should be" in nslab("diff", lab)
    assert f"-a -t {CLUSTER_IP} -r 20.111.156.7:8080 -m -w 1" in said(NODE, "ipvsadm -Sn")
    assert answers(CLIENT, NODE_PORT)
    assert answers(POD, CLUSTER_IP), "its own Service: hairpin"

    nslab("set", lab, "proxy-mode=iptables")
    assert "is as it should be" in nslab("diff", lab)
    assert said(NODE, "ipvsadm -Sn") == ""
    assert "KUBE" not in said(NODE, "ipset save")
    assert "kube-ipvs0" not in said(NODE, "ip link")
    assert answers(CLIENT, NODE_PORT)

    said(NODE, "iptables -t nat -F KUBE-SERVICES")  # as rules go wrong, so they come right in the other mode
    nslab("set", lab, "proxy-mode=ipvs")
    assert "is as it should be" in nslab("diff", lab)
    assert answers(CLIENT, NODE_PORT)
