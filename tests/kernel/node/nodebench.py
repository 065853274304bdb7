"""A folder and namespaces as a lab has them, made without the rest of nslab, and all of it gone at the end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nslab.linux.owned import written
from nslab.linux.processes.agents import Agents
from nslab.linux.processes.exec import ExecRequest, communicate
from nslab.linux.processes.procs import Record, processes
from nslab.linux.timeouts import scaled
from nslab.objects.container import Sandbox, Workload
from nslab.objects.plan import Add
from nslab.objects.process import NodeAgent
from nslab.runtime import cgroups
from nslab.syscall import CLONE_NEWNET, mount, setns, umount
from tests.kernel.labkit import until

if TYPE_CHECKING:
    from collections.abc import Callable

RESOLV_CONF = "nameserver 10.96.0.10\nsearch default.svc.cluster.local\noptions ndots:5\n"


def alive(pid: int) -> bool:
    """Whether a process runs: a dead one may lie there until the machine's init collects it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


class Bench:
    """A lab's folder with namespaces, and objects to ask its nodes for."""

    def __init__(self) -> None:
        self.lab = f"t-{secrets.token_hex(3)}"
        self.run = Path("/run/nslab") / self.lab
        self.agents = Agents(self.lab, self.run)
        self.hosts: list[str] = []
        self.node_of: dict[str, str] = {}
        (self.run / "ns").mkdir(parents=True)
        mount("tmpfs", str(self.run), "tmpfs", 0, "mode=755")
        for folder in ("ns", "nodes", "pods"):
            (self.run / folder).mkdir()
        mount("tmpfs", str(self.run / "ns"), "tmpfs", 0, "mode=755")
        mount("none", str(self.run / "ns"), flags=1 << 18)

    def ns(self, host: str) -> str:
        """The namespace's name."""
        return f"nslab.{self.lab}.{host}"

    def add_ns(self, host: str) -> None:
        """A named namespace with its loopback interface up."""
        name = self.ns(host)
        (self.run / "ns" / name).touch()
        netns = f"/run/netns/{name}"
        Path("/run/netns").mkdir(exist_ok=True)
        os.symlink(self.run / "ns" / name, netns)
        self.hosts.append(host)
        sh(f"unshare --net=/run/nslab/{self.lab}/ns/{name} ip link set lo up")

    def node(self, host: str = "node1") -> int:
        """A node with its process, which has the number that is returned."""
        if host not in self.hosts:
            self.add_ns(host)
        return self.agents.run([Add(NodeAgent(self.ns(host), self.ns(host)))])[0]

    def sandbox(self, pod: str, node: str = "node1", *, share_pid: bool = False, address: str = "127.0.0.1") -> Sandbox:
        """A pod to be started."""
        if pod not in self.hosts:
            self.add_ns(pod)
        self.node_of[pod] = node
        return Sandbox(
            self.ns(pod), self.ns(node), "default", pod, f"uid-{pod}", pod, IPv4Address(address), share_pid, RESOLV_CONF
        )

    def workload(
        self, pod: str, container: str, *argv: str, node: str = "node1", port: int = 0, **kubelet: Any
    ) -> Workload:
        """A container to be started."""
        return Workload(self.ns(pod), self.ns(node), container, argv, (("COLOUR", "green"),), "/", port, **kubelet)

    def start(self, *objects: Sandbox | Workload) -> list[int]:
        """Start these, which must become ready."""
        pids = self.agents.run([Add(obj) for obj in objects])
        assert [str(entry) for entry in self.agents.wait_ready(scaled(10))] == []
        return pids

    def inside(self, ns: str, call: Callable[[], object]) -> None:
        """Do something in a namespace, in this thread."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(self.run / "ns" / self.ns(ns), os.O_RDONLY)
        try:
            setns(there, CLONE_NEWNET)
            call()
        finally:
            setns(home, CLONE_NEWNET)
            os.close(home)
            os.close(there)

    def records(self) -> list[Record]:
        """What nslab finds of this lab."""
        inodes = {os.stat(self.run / "ns" / self.ns(host)).st_ino: self.ns(host) for host in self.hosts}
        return processes(inodes, [self.lab], written(self.lab))

    def record(self, host: str, role: str) -> Record:
        """The one process of a role."""
        (found,) = [record for record in self.records() if (record.ns, record.role) == (self.ns(host), role)]
        return found

    def exec(self, host: str, role: str, *argv: str) -> tuple[int, str]:
        """Status and output (both streams) of a command run beside a process."""
        done = communicate(self.run, self.command(host, role, *argv), "", 30.0)
        return done.returncode, done.stdout + done.stderr

    def command(self, host: str, role: str, *argv: str) -> ExecRequest:
        """What is run beside a process."""
        container = role.removeprefix("node").removeprefix("container/")
        return ExecRequest(self.lab, host, self.node_of.get(host, host), container, argv)

    def logs(self, pod: str, container: str, node: str = "node1") -> Path:
        """Where the logs of a container are."""
        return self.run / "nodes" / node / "log" / "pods" / f"default_{pod}_uid-{pod}" / container

    def log(self, pod: str, container: str, node: str = "node1", attempt: int = 0) -> str:
        """What a container's log file holds."""
        path = self.logs(pod, container, node) / f"{attempt}.log"
        return path.read_text() if path.exists() else ""

    def status(self, pod: str, node: str = "node1") -> dict[str, Any]:
        """What the node's process wrote down of a pod."""
        path = self.run / "nodes" / f"{node}.status.json"
        pods: dict[str, Any] = json.loads(path.read_text())["pods"] if path.exists() else {}
        return dict(pods.get(f"default/{pod}", {}))

    def wire(self, pod: str, address: str, node: str = "node1") -> None:
        """A cable from the node to the pod, which has an address."""
        sh(f"ip link add v-{pod} netns {self.ns(node)} type veth peer name eth0 netns {self.ns(pod)}")
        sh(f"ip -n {self.ns(pod)} address add {address}/32 dev eth0")
        sh(f"ip -n {self.ns(pod)} link set eth0 up")
        sh(f"ip -n {self.ns(pod)} route add default dev eth0")
        sh(f"ip -n {self.ns(node)} address add 169.254.1.1/32 dev v-{pod}")
        sh(f"ip -n {self.ns(node)} link set v-{pod} up")
        sh(f"ip -n {self.ns(node)} route add {address}/32 dev v-{pod}")

    def processes(self) -> list[int]:
        """Everything that bears the lab's mark or lives in its namespaces, found in the plainest way."""
        found = []
        inodes = {os.stat(self.run / "ns" / self.ns(host)).st_ino for host in self.hosts}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    ours = f"NSLAB=nslab.{self.lab}." in (entry / "environ").read_bytes().decode("latin-1")
                    if ours or os.stat(entry / "ns/net").st_ino in inodes:
                        found.append(int(entry.name))
                except OSError:  # it ended, or is not ours to look at
                    pass
        return found

    def close(self) -> None:
        """Leave nothing."""
        try:
            self.agents.__exit__()
        finally:
            for host in self.hosts:
                journal = self.run / "nodes" / host / "nslab-node.log"
                if journal.exists() and journal.stat().st_size:
                    sys.stdout.write(f"{host}: {journal.read_text()}\n")  # pytest shows it beside a failure
            self._remove()

    def _remove(self) -> None:
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not self.processes())
        for host in self.hosts:
            os.unlink(f"/run/netns/{self.ns(host)}")
        cgroups.remove(cgroups.name(str(self.run)), seconds=2)
        umount(str(self.run / "ns"))
        umount(str(self.run))
        shutil.rmtree(self.run)


def sh(command: str, *, check: bool = True) -> str:
    """What a command prints."""
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=20)
    assert not check or done.returncode == 0, done.stderr
    return done.stdout
