"""The same topology with the best shell script that we can write: few processes, each with as much work as possible.

One `ip -batch` creates the namespaces, and one per namespace its contents; the shell itself writes settings; one
restore per node writes sets and rules. The program runs the script in its own mount namespaces, prints its
milliseconds, and on request checks that the result is the lab.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.build import plan_of
from nslab import engine
from nslab.linux import owned
from nslab.linux.kernel import LinuxKernel
from nslab.linux.netns import Namespaces, folder
from nslab.linux.observe.host import read_host
from nslab.linux.observe.objects import observe
from nslab.linux.processes.agents import Agents
from nslab.objects import script as shell
from nslab.objects.container import Workload
from nslab.objects.ipset import IpSet, SetMember, ipset_restore
from nslab.objects.iptables import Chain, Jump, iptables_restore
from nslab.objects.namespaces import Netns
from nslab.objects.plan import diff
from nslab.objects.process import NodeAgent, Process, TunnelAgent
from nslab.objects.sysctl import Sysctl
from nslab.syscall import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC, mount, unshare

if TYPE_CHECKING:
    from nslab.objects.plan import Plan


@dataclass(frozen=True, slots=True)
class Inside:
    """A plan's objects in one namespace, as inputs of the programs: `ip -batch`, `ipset restore`, …"""

    ip: str
    bridge: str
    settings: str
    sets: str
    rules: str


def inside(plan: Plan, ns: str) -> Inside:
    """The inputs of the programs for one namespace."""
    mine = [step for step in plan if step.obj.ns == ns]
    lines = [line for step in mine for line in shell.commands(step)]
    sets = [step for step in mine if isinstance(step.obj, IpSet | SetMember)]
    rules = [step for step in mine if isinstance(step.obj, Chain | Jump)]
    return Inside(
        ip=_without(f"ip -n {ns} ", lines),
        bridge=_without(f"bridge -n {ns} ", lines),
        settings="".join(f"echo {o.value} >/proc/sys/{o.path}\n" for s in mine if isinstance(o := s.obj, Sysctl)),
        sets=ipset_restore(sets) if sets else "",
        rules=iptables_restore(rules),
    )


def _without(prefix: str, lines: list[str]) -> str:
    return "".join(f"{line.removeprefix(prefix)}\n" for line in lines if line.startswith(prefix))


def restores(part: Inside, ns: str, folder: str, iptables: str) -> tuple[str, dict[str, str]]:
    """The shell lines for settings, sets and rules in a namespace, and the files that they read."""
    programs = (("sets", "ipset restore", part.sets), ("rules", f"{iptables}-restore --noflush", part.rules))
    files = {f"{ns}.{kind}": text for kind, _, text in programs if text}
    lines = [f"{program} <{folder}/{ns}.{kind}\n" for kind, program, text in programs if text]
    return part.settings + "".join(lines), files


def script(plan: Plan, folder: str, iptables: str = "iptables") -> dict[str, str]:
    """The files by name; sh runs `build`, which finds the others in `folder`."""
    files = {"names": "".join(f"netns add {step.obj.ns}\n" for step in plan if isinstance(step.obj, Netns))}
    first, then = ["set -e", f"ip -batch {folder}/names"], []
    for ns in dict.fromkeys(step.obj.ns for step in plan):
        part = inside(plan, ns)
        for tool, text in (("ip", part.ip), ("bridge", part.bridge)):
            if text:
                files[f"{ns}.{tool}"] = text
                first.append(f"{tool} -n {ns} -batch {folder}/{ns}.{tool}")
        files[f"{ns}.inside"], more = restores(part, ns, folder, iptables)
        files |= more
        if files[f"{ns}.inside"]:
            # When all interfaces exist, the nodes need not wait for each other.
            then.append(f"nsenter --net=/run/netns/{ns} sh -e {folder}/{ns}.inside &")
    files["build"] = "\n".join([*first, *then, "wait", ""])
    return files


def _alone() -> None:
    """Make all further mounts invisible to others, and end them with this process."""
    unshare(CLONE_NEWNS)
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    # A new /run: removing a folder unmounts what is mounted on it, in all mount namespaces.
    mount("none", "/run", "tmpfs")
    os.makedirs("/run/nslab")
    # The first namespace takes longer: ip makes /run/netns a shared mount.
    subprocess.run(["ip", "netns", "add", "first"], check=True)
    subprocess.run(["ip", "netns", "del", "first"], check=True)


def run(file: Path, name: str, check: bool) -> float:
    """Build a lab with the script; return its milliseconds."""
    _alone()
    with Namespaces() as spaces, tempfile.TemporaryDirectory(dir="/run/nslab") as here:
        host = read_host(spaces)
        topology = plan_of(file, Process, host)
        for part, text in script(topology, here, host.iptables).items():
            (Path(here) / part).write_text(text)
        # close_fds=False lets subprocess use vfork, which does not copy this process's memory map.
        started = time.perf_counter()
        done = subprocess.run(["sh", f"{here}/build"], capture_output=True, text=True, close_fds=False, check=False)
        spent = time.perf_counter() - started
        if done.returncode or done.stderr:
            sys.exit(f"the script failed: {done.stderr}")
        if check:
            _check(spaces, file, name, host.iptables)
    return spent * 1000


def _check(spaces: Namespaces, file: Path, name: str, iptables: str) -> None:
    """Exit with an error unless the script's namespaces are the lab, and pods on two nodes reach each other."""
    host = read_host(spaces)
    owned.claim(name)
    for ns in os.listdir("/run/netns"):
        (folder(name) / "ns" / ns).touch()
        mount(f"/run/netns/{ns}", str(folder(name) / "ns" / ns), flags=MS_BIND)
    plan = plan_of(file, Workload, host)
    wanted = tuple(step.obj for step in plan if not isinstance(step.obj, Process))
    wrong = diff(observe(spaces, name, wanted, iptables).have, wanted)
    if wrong:
        sys.exit("the script built something else:\n" + "\n".join(shell.command(step) for step in wrong))
    with Agents(name, folder(name)) as agents:
        tunnels = tuple(step for step in plan if isinstance(step.obj, NodeAgent | TunnelAgent))
        engine.apply(LinuxKernel(spaces, agents, iptables), tunnels)
        pods = [step.obj for step in plan if isinstance(step.obj, Process) and hasattr(step.obj, "address")]
        near, far = pods[0], pods[-1]
        ping = ["ping", "-c1", "-W2", str(getattr(far, "address"))]  # noqa: B009
        done = subprocess.run(["nsenter", f"--net=/run/netns/{near.ns}", *ping], capture_output=True, check=False)
    owned.release(name)
    if done.returncode:
        sys.exit(f"in the script's lab, {near.ns} does not reach {far.ns}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    parser.add_argument("name")
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    print(json.dumps({"apply": run(arguments.file, arguments.name, arguments.check)}))
