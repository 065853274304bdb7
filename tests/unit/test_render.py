"""`nslab render`: manifests in, text out; what its flags refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NODE = ("--node", "node1")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, clusterIP: 10.96.0.9, ports: [{port: 80, nodePort: 31080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [20.111.156.7], nodeName: node1}]
ports: [{port: 8080}]
"""


def render(*arguments: str, text: str = SERVICE) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "nslab", "render", "-f", "-", *NODE, *arguments]
    return subprocess.run(argv, input=text, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--node-ip", "bogus"), "--node-ip: 'bogus' is not an IPv4 address, such as 192.168.59.22"),
        (("--node-ip", "::1"), "--node-ip: '::1' is not an IPv4 address, such as 192.168.59.22"),
        (("--node-ip", ""), "--node-ip: '' is not an IPv4 address, such as 192.168.59.22"),
        (
            ("--cluster-cidr", "20.300.0.0/99"),
            "--cluster-cidr: '20.300.0.0/99' is not an IPv4 network, such as 20.96.0.0/12",
        ),
        (("--service-cidr", "x"), "--service-cidr: 'x' is not an IPv4 network, such as 20.96.0.0/12"),
        (("--scheduler", "zz"), "--scheduler is one of rr, wrr, lc, sh, mh, not 'zz'"),
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(flags: tuple[str, ...], says: str) -> None:
    done = render("--proxy-mode", "ipvs", *flags)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"nslab: {says}\n")


def test_a_network_is_written_as_the_kernel_keeps_it() -> None:
    done = render("--proxy-mode", "iptables", "--cluster-cidr", "20.111.156.7/12", "--node-ip", "192.168.59.22")
    assert done.returncode == 0
    assert "! -s 20.96.0.0/12 -d 10.96.0.9/32" in done.stdout


def test_masquerade_all_marks_whoever_asks() -> None:
    done = render("--proxy-mode", "iptables", "--cluster-cidr", "20.96.0.0/12", "--masquerade-all")
    (rule,) = [line for line in done.stdout.splitlines() if "cluster IP" in line and "KUBE-MARK-MASQ" in line]
    assert rule.startswith("-A KUBE-SVC-")
    assert " -s " not in rule
