"""Containers that print without end: the node serves the others, and their logs stay small."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.linux.netns import folder
from tests.kernel.labkit import NSLAB, ROOT, nslab, pids, until

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.pytest_plugin.running import RunningLab

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: noise}
spec:
  networks: {nodes: 192.168.59.0/24, pods: 20.96.0.0/12, services: 10.96.0.0/12}
  cni: {plugin: calico, encapsulation: None}
  proxy: {mode: iptables}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/24}
---
apiVersion: v1
kind: Pod
metadata: {name: quiet}
spec:
  containers:
  - {name: app, image: registry.k8s.io/e2e-test-images/agnhost:2.53, args: [netexec], ports: [{containerPort: 8080}]}
"""
NOISY = """\
---
apiVersion: v1
kind: Pod
metadata: {name: noisy-%d}
spec:
  containers:
  - {name: app, command: %s}
"""
MOST = 20 * (1 << 20) + (1 << 20)
"""Bytes that a container may keep, and some more."""


def logged(lab: str, pod: str) -> int:
    """The bytes of a pod's logs."""
    return sum(file.stat().st_size for file in Path(folder(lab) / "nodes/node1/log/pods").glob(f"*_{pod}_*/*/*"))


def printed(pid: int) -> int:
    """The bytes that a process has written so far."""
    io = Path(f"/proc/{pid}/io").read_text()
    return int(io.partition("wchar: ")[2].split()[0])


def test_a_node_whose_containers_print_without_end_serves(make_lab: Callable[..., RunningLab]) -> None:
    noise = NOISY % (0, "['yes']") + NOISY % (1, "[sh, -c, yes >&2]") + NOISY % (2, "[cat, /dev/zero]")
    began = time.monotonic()
    lab = make_lab(LAB + noise)
    more = NOISY % (3, "[sh, -c, while :; do echo x; done]")
    lab.apply(more)
    assert nslab("delete", lab.name, "pod/noisy-3", "--now").returncode == 0
    assert nslab("exec", f"{lab.name}/quiet", "--", "true").returncode == 0
    assert nslab("diff", lab.name).returncode == 0
    assert time.monotonic() - began < 20


def test_the_logs_of_what_prints_without_end_stay_small(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab(LAB + NOISY % (0, "['yes']"))
    noisy = pids(lab.name)["noisy-0 container/app"]
    sizes = []

    def enough() -> bool:
        sizes.append(logged(lab.name, "noisy-0"))
        return printed(noisy) > 4 << 20  # each line becomes twenty times as long

    until(enough, 60)
    assert 10 << 20 < max(sizes) <= MOST


def test_a_container_that_ends_and_prints_again_keeps_no_more(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab(LAB + NOISY % (0, "[sh, -c, yes | head -c 2000000]"))
    sizes = []

    def again() -> bool:
        sizes.append(logged(lab.name, "noisy-0"))
        return any(Path(folder(lab.name) / "nodes/node1/log/pods").glob("*_noisy-0_*/*/1.log.1"))

    until(again, 60)
    assert 10 << 20 < max(sizes) <= MOST


def test_a_server_serves_on_when_nobody_takes_its_log(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab(LAB)
    node = pids(lab.name)["node1 node"]
    url = f"http://{lab.pod('quiet').address}:8080/hostname"
    os.kill(node, signal.SIGSTOP)
    try:
        # 4,000 requests, of which each is a line of the log: more than a pipe holds.
        lab.sh("node1", f"curl -sf --max-time 20 -o /dev/null '{url}?[1-4000]'")
    finally:
        os.kill(node, signal.SIGCONT)
    assert lab.sh("node1", f"curl -sf {url}") == "quiet"


def test_a_node_serves_while_processes_are_born_and_die_without_end(make_lab: Callable[..., RunningLab]) -> None:
    lab = make_lab(LAB)
    storm = subprocess.Popen(
        [*NSLAB, "exec", f"{lab.name}/node1", "--", "sh", "-c", "while :; do (sh -c : &); done"], cwd=ROOT
    )
    try:
        lab.apply(NOISY % (0, "[sleep, inf]"))
        assert nslab("diff", lab.name).returncode == 0
    finally:
        storm.kill()
        storm.wait()
