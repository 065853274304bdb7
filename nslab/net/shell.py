"""A plan as a person would type it."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, assert_never

from nslab.net import filter as rules
from nslab.net import inet, links
from nslab.net.objects import (
    Address,
    Blackhole,
    Bridge,
    Chain,
    Fdb,
    Ipip,
    IpSet,
    Jump,
    LinkUp,
    Neighbour,
    Netns,
    NodeAgent,
    Port,
    Process,
    Route,
    Sandbox,
    SetMember,
    Sysctl,
    Tun,
    TunnelAgent,
    Veth,
    Vxlan,
    Workload,
)
from nslab.net.steps import Add, Remove

if TYPE_CHECKING:
    from nslab.net.steps import Plan, Step

_PREAMBLE = """\
#!/usr/bin/env bash
# {title}
# Made by `nslab plan --script`. Run as root; everything lives in namespaces named {prefix}*, and this takes it away:
#   for ns in $(ip netns list | grep -o "^{prefix}[^ ]*"); do
#     ip netns pids $ns | xargs -r kill -9; ip netns del $ns; done
set -euo pipefail
PYTHON=${{PYTHON:-python3}}  # one that can import nslab: the built-in server and the tunnel process are its modules
"""


def commands(step: Step) -> list[str]:
    """The commands that do one step (more than one for a chain with its rules)."""
    match step.obj:
        case Netns(ns=ns):
            return [f"ip netns {'del' if isinstance(step, Remove) else 'add'} {ns}"]
        case (Veth() | Bridge() | Vxlan() | Ipip() | Tun() | Port() | LinkUp()) as link:
            return links.lines(step, link)
        case (Address() | Route() | Blackhole() | Neighbour() | Fdb()) as entry:
            return inet.lines(step, entry)
        case Sysctl() as setting:
            # With slashes, sysctl(8) takes a dot for part of a name (vxlan.calico).
            path = setting.path if "." in setting.path else setting.path.replace("/", ".")
            return [f"ip netns exec {setting.ns} sysctl -qw {path}={setting.value}"]
        case (IpSet() | SetMember() | Chain() | Jump()) as rule:
            return rules.lines(step, rule)
        case (NodeAgent() | TunnelAgent() | Sandbox() | Workload()) as process:
            return [_process(step, process)]
        case missing:
            assert_never(missing)


def command(step: Step) -> str:
    """The same in one line, for messages."""
    return "; ".join(commands(step))


def script(plan: Plan, title: str, prefix: str) -> str:
    """A bash script that does the plan. `prefix` begins the names of all its namespaces."""
    lines = [_PREAMBLE.format(title=title, prefix=prefix)]
    by = ""
    for step in plan:
        if step.obj.by != by:
            by = step.obj.by
            lines.append(f"\n# {by}")
        lines += commands(step)
    return "\n".join(lines) + "\n"


def _process(step: Step, obj: NodeAgent | TunnelAgent | Sandbox | Workload) -> str:
    what = _described(obj)
    if isinstance(step, Remove):
        # Every process of a lab carries a mark in its environment: its namespace and its role.
        return f"kill $(grep -lsz '^NSLAB={obj.ns} {obj.key[2]}' /proc/[0-9]*/environ | cut -d/ -f3)  # {what}"
    if not isinstance(step, Add):
        return f"# {what}"
    match obj:
        case NodeAgent():
            return f"# {what}: no command to type; it is the parent of what follows"
        case TunnelAgent():
            return f"ip netns exec {obj.ns} $PYTHON -m nslab.node.tunnel {obj.dev} {obj.local} &"
        case Sandbox():
            pid = " --pid --fork --mount-proc" if obj.share_pid else ""
            pause = shlex.quote(f"hostname {obj.hostname} && exec sleep infinity")
            return f"ip netns exec {obj.ns} unshare --uts --ipc{pid} sh -c {pause} & {_variable(obj)}=$!"
        case Workload():
            pause = f"nsenter --target ${_variable(obj)} --net --uts --ipc"
            return f"{pause} unshare --pid --fork --mount-proc {_argv(obj)} &"


def _described(obj: Process) -> str:
    match obj:
        case Sandbox():
            return f"pause, the process that holds the namespaces of pod {obj.namespace}/{obj.pod}"
        case Workload():
            return f"container {obj.container}: {shlex.join(obj.argv)}"
        case TunnelAgent():
            return f"the process behind {obj.dev}, since this kernel has no ipip driver"
        case _:
            return "nslab-node"


def _variable(obj: Process) -> str:
    """The shell variable that holds the process id of a pod's pause."""
    return "pause_" + "".join(c if c.isalnum() else "_" for c in obj.ns)


def _argv(obj: Workload) -> str:
    env = "".join(f"{name}={shlex.quote(value)} " for name, value in obj.env)
    command = ["$PYTHON -m nslab.node.agnhost", *map(shlex.quote, obj.argv[1:])]
    if obj.argv[0] != "agnhost":
        command = [shlex.quote(word) for word in obj.argv]
    return f"env {env}{' '.join(command)}" if env else " ".join(command)
