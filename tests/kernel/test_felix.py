"""Felix on its nodes: it writes what changes while it lives, and what was missed when it comes back."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from nslab.errors import Refused
from nslab.linux.netns import Namespaces
from nslab.linux.observe.host import driver, working_iptables
from nslab.linux.processes.status import read_status
from nslab.linux.rules import restore
from nslab.objects.iptables import Chain
from nslab.objects.names import netns
from nslab.objects.plan import Add
from nslab.policy.model import DATAPLANES, DEFAULT_DATAPLANE
from tests.kernel.labkit import NSLAB, OwnLab, kill, nslab, until
from tests.slow import SLOW

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root
DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny}
spec: {podSelector: {}, policyTypes: [Ingress]}
"""
ALLOW = f"""{DENY.replace("deny", "allow")[:-2]},
  ingress: [{{from: [{{podSelector: {{matchLabels: {{app: late}}}}}}]}}]}}
"""
POD = """
apiVersion: v1
kind: Pod
metadata: {name: late, labels: {app: late}}
spec: {nodeName: node1, containers: [{name: c, image: nginx}]}
"""
JOB = """
apiVersion: batch/v1
kind: Job
metadata: {name: done}
spec:
  template:
    spec:
      nodeName: node1
      restartPolicy: Never
      containers: [{name: c, image: busybox, command: ["true"]}]
"""


@pytest.fixture(scope="module", params=DATAPLANES if SLOW else [DEFAULT_DATAPLANE])
def lab(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("felix"))
    made.edit("encapsulation: IPIP", f"encapsulation: IPIP, dataplane: {request.param}")
    made.up()
    yield made
    made.down()


@pytest.fixture(autouse=True)
def whole(lab: OwnLab) -> Iterator[None]:
    yield
    lab.up()
    assert lab.differences() == []


def apply(lab: OwnLab, text: str) -> str:
    done = nslab("apply", lab.name, "-f", "-", input=text)
    assert done.returncode == 0, done.stderr
    return done.stderr


def saved(lab: OwnLab, node: str) -> str:
    listed = lab.sh(node, "nft -s list table ip calico 2>/dev/null; true")
    return lab.sh(node, "iptables-save") + lab.sh(node, "ipset save") + listed


def pods_chains(lab: OwnLab) -> int:
    return len(re.findall(r"(?::|chain filter-)cali-tw-", saved(lab, "node1")))


def felixes(lab: OwnLab) -> dict[str, int]:
    return {name.split()[0]: pid for name, pid in lab.pids().items() if name.endswith(" felix")}


def test_it_is_a_process_of_each_node_and_takes_over_what_up_wrote(lab: OwnLab) -> None:
    assert felixes(lab).keys() == {"node1", "node2"}
    with Namespaces() as spaces:
        for node, pid in felixes(lab).items():
            spaces.enter(netns(lab.name, node))
            assert _inode(f"/proc/{pid}/ns/net") == _inode("/proc/thread-self/ns/net")


def test_a_policy_is_written_by_it_and_goes_with_it(lab: OwnLab) -> None:
    before = {node: saved(lab, node) for node in felixes(lab)}
    assert apply(lab, DENY) == ""
    assert all("cali-pi-" in saved(lab, node) for node in before)
    assert lab.differences() == []
    assert nslab("delete", lab.name, "netpol/deny").returncode == 0
    assert {node: _rules(saved(lab, node)) for node in before} == {node: _rules(text) for node, text in before.items()}


def test_of_a_long_name_linux_keeps_less_than_felix_writes(lab: OwnLab) -> None:
    apply(lab, DENY.replace("deny", "a" * 253))
    assert lab.differences() == []


def test_a_pod_that_comes_is_admitted_before_it_is_waited_for(lab: OwnLab) -> None:
    apply(lab, DENY)
    done = nslab("apply", lab.name, "--wait", "-f", "-", input=POD)
    assert (done.returncode, lab.differences()) == (0, [])
    assert nslab("delete", lab.name, "pod/late", "--force").returncode == 0
    assert lab.differences() == []


def test_without_it_a_policy_is_not_enforced_until_it_is_back(lab: OwnLab) -> None:
    rules = saved(lab, "node1")
    kill(felixes(lab)["node1"])
    said = apply(lab, DENY)
    assert said.startswith("nslab: the felix of node1 has not followed yet")
    assert _rules(saved(lab, "node1")) == _rules(rules)
    assert "cali-pi-" in saved(lab, "node2")
    wrong = lab.differences()
    assert "node1 has no felix process" in wrong
    assert all(line.startswith("node1") for line in wrong)
    assert "+ processes: felix process" in nslab("set", lab.name, "proxy-mode=iptables").stdout
    assert lab.differences() == []
    assert "cali-pi-" in saved(lab, "node1")


def test_one_that_comes_back_takes_away_what_it_missed_to_take(lab: OwnLab) -> None:
    apply(lab, DENY)
    kill(felixes(lab)["node1"])
    assert nslab("delete", lab.name, "netpol/deny").returncode == 0
    assert "cali-pi-" in saved(lab, "node1")
    lab.up()
    assert "cali-pi-" not in saved(lab, "node1")


def test_a_rule_by_hand_that_keeps_an_old_chain_keeps_no_new_policy_out(lab: OwnLab) -> None:
    apply(lab, DENY)
    chain = next(line[1:].split()[0] for line in saved(lab, "node1").splitlines() if line.startswith(":cali-pi-"))
    lab.sh("node1", f"iptables -A INPUT -j {chain}")
    done = nslab("delete", lab.name, "netpol/deny")
    assert (done.returncode, "felix of node1 cannot write its rules" in done.stderr) == (1, True)
    assert nslab("apply", lab.name, "-f", "-", input=ALLOW).returncode == 1
    assert not [line for line in lab.differences() if "cali-tw-" in line]
    lab.sh("node1", f"iptables -D INPUT -j {chain}")
    until(lambda: chain not in saved(lab, "node1"))
    assert lab.differences() == []


def test_a_pod_that_has_ended_has_no_chains(lab: OwnLab) -> None:
    before = pods_chains(lab)
    apply(lab, JOB)
    until(lambda: any(pod.get("phase") == "Succeeded" for pod in read_status(lab.name).values()))
    until(lambda: lab.differences() == [] and pods_chains(lab) == before)
    assert nslab("set", lab.name, "encapsulation=VXLAN").returncode == 0  # nslab itself writes
    assert (pods_chains(lab), lab.differences()) == (before, [])


def test_what_is_applied_is_done_before_it_warns_those_who_may_be_gone(lab: OwnLab, tmp_path: Path) -> None:
    file = tmp_path / "nobody.yaml"
    file.write_text(DENY.replace("{}", "{matchLabels: {app: nobody}}"))
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*NSLAB, "apply", lab.name, "-f", str(file)], stdout=writer, stderr=writer, check=False)
    os.close(writer)
    assert done.returncode != 0
    assert nslab("delete", lab.name, "netpol/deny").returncode == 0


def test_a_kernel_without_a_match_is_told_so_in_a_sentence() -> None:
    if driver("ip_vs"):
        pytest.skip("this kernel has the match that most lack")
    rule = "-m ipvs --vport 80 -j DROP"
    step = Add(Chain(netns("nobody", "n"), "raw", "cali-X", (rule,)))
    text = f"*raw\n:cali-X - [0:0]\n-A cali-X {rule}\nCOMMIT\n"
    with Namespaces() as spaces, spaces.throwaway(), pytest.raises(Refused, match="kernel lacks iptables' ipvs; "):
        restore.iptables(working_iptables(), text, [step])


def test_one_that_finds_other_rules_than_it_wrote_writes_all_again(lab: OwnLab) -> None:
    apply(lab, ALLOW)
    rules = saved(lab, "node1")
    (chain,) = {*re.findall(r"[\w-]*cali-pi-\S+", rules)}
    (members,) = {*re.findall(r"cali40s[:-]\S+", rules)}
    if chain.startswith("filter-"):
        ours = f"flush chain ip calico {chain}; delete set ip calico {members}; add chain ip calico cali-pi-stale"
        lab.sh("node1", f"nft '{ours}'")
    else:
        lab.sh("node1", f"iptables -F {chain} && ipset destroy {members} && iptables -N cali-pi-stale")
    assert apply(lab, POD) == "played by stand-ins: nginx\n"  # its address does not go into a set that is not there
    assert lab.differences() == []
    assert "cali-pi-stale" not in saved(lab, "node1")


def test_an_established_connection_outlives_a_policy(lab: OwnLab) -> None:
    with Namespaces() as spaces:
        spaces.enter(netns(lab.name, "pod-a"))
        listener = socket.create_server(("", 7777))
        here = lab.sh("pod-a", "hostname -I").split()[0]
        spaces.enter(netns(lab.name, "pod-d"))
        near = socket.create_connection((here, 7777), timeout=5)
    far, _ = listener.accept()
    apply(lab, DENY)
    near.sendall(b"still")
    assert far.recv(5) == b"still"
    assert not lab.talks("pod-d", here)
    for one in (near, far, listener):
        one.close()


def _rules(text: str) -> list[str]:
    """Without counters, times and the order of sets."""
    return sorted(line.split(" [")[0] for line in text.splitlines() if not line.startswith("#"))


def _inode(path: str) -> int:
    return os.stat(path).st_ino
