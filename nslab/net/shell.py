"""A plan as a person would type it."""

from __future__ import annotations

import shlex
from itertools import groupby
from typing import TYPE_CHECKING, assert_never

from nslab.net import filter as rules
from nslab.net import inet, ipvs, links, nft, orders
from nslab.net.objects import (
    Address,
    Attachment,
    Blackhole,
    Bridge,
    Chain,
    Control,
    Dummy,
    Fdb,
    Ipip,
    IpSet,
    Jump,
    KubeProxy,
    LinkUp,
    Neighbour,
    Netns,
    NftChain,
    NftElement,
    NftSet,
    NftTable,
    NodeAgent,
    Port,
    Process,
    RealServer,
    Route,
    Sandbox,
    Security,
    SetMember,
    Sysctl,
    Tun,
    TunnelAgent,
    Veth,
    VirtualServer,
    Vxlan,
    Workload,
)
from nslab.net.steps import Add, Remove, transactions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.net.steps import Plan, Step

_PREAMBLE = """\
#!/usr/bin/env bash
# {title}
# Made by `nslab plan --script`. Run it as root. All of it lives in namespaces named {prefix}*, and goes away by
#   for ns in $(ip netns list | grep -o '^{pattern}[^ ]*'); do
#     ip netns pids $ns | xargs -r kill -9; ip netns del $ns
#   done
set -euo pipefail
"""

_FUNCTIONS = """
PYTHON=${PYTHON:-python3}  # one that can import nslab: the built-in server and the tunnel process are its modules
declare -A pause           # the process that holds a pod's namespaces, by the pod's network namespace

pause() {  # NETNS HOSTNAME [OPTIONS OF unshare]: start it, and return when its namespaces are there and named
  local ns=$1 host=$2 ready
  read -r ready < <(
    exec env NSLAB="$ns pause" ip netns exec "$ns" unshare --uts --ipc "${@:3}" \\
      sh -c 'hostname "$0" && echo ready && exec sleep infinity </dev/null >/dev/null 2>&1' "$host"
  )
  pause[$ns]=$!
}
"""


def commands(step: Step) -> list[str]:
    """The commands that do one step (more than one for a chain with its rules)."""
    match step.obj:
        case Netns(ns=ns):
            return [f"ip netns {'del' if isinstance(step, Remove) else 'add'} {ns}"]
        case (Veth() | Bridge() | Vxlan() | Ipip() | Tun() | Port() | LinkUp() | Dummy()) as link:
            return links.lines(step, link)
        case (Address() | Route() | Blackhole() | Neighbour() | Fdb()) as entry:
            return inet.lines(step, entry)
        case Sysctl() as setting:
            # With slashes, sysctl(8) takes a dot for part of a name (vxlan.calico).
            path = setting.path if "." in setting.path else setting.path.replace("/", ".")
            return [f"ip netns exec {setting.ns} sysctl -qw {path}={setting.value}"]
        case (IpSet() | SetMember() | Chain() | Jump()) as rule:
            return rules.lines(step, rule)
        case (VirtualServer() | RealServer()) as server:
            return ipvs.lines(step, server)
        case (NftTable() | NftSet() | NftChain() | NftElement()) as thing:
            return nft.lines(step, thing)
        case Attachment() as attachment:
            return orders.lines(step, attachment)
        case (NodeAgent() | Control() | TunnelAgent() | KubeProxy() | Sandbox() | Workload()) as process:
            return [_process(step, process)]
        case missing:
            assert_never(missing)


def command(step: Step) -> str:
    """The same in one line, for messages."""
    return "; ".join(commands(step))


def script(plan: Plan, title: str, prefix: str) -> str:
    """A bash script that does the plan. `prefix` begins the names of all its namespaces."""
    lines = [_PREAMBLE.format(title=title, prefix=prefix, pattern=prefix.replace(".", "[.]"))]
    if any(isinstance(step.obj, Process) for step in plan):
        lines[0] += _FUNCTIONS
    if any(isinstance(step.obj, Attachment) for step in plan):
        lines[0] += orders.FUNCTION
    shared = {step.obj.ns for step in plan if isinstance(step.obj, Sandbox) and step.obj.share_pid}
    heading = ""
    for by, typed in told(plan, lambda step: [_scripted(step, line, shared) for line in commands(step)]):
        lines += [f"\n# {by}"] if by != heading else []
        lines += typed
        heading = by
    return "\n".join(lines) + "\n"


def told(plan: Plan, say: Callable[[Step], list[str]] | None = None) -> Iterator[tuple[str, list[str]]]:
    """The plan's commands in an order in which they can be typed, with who does them on a real node.

    What the kernel takes at once may speak of what comes later; a person declares chains before he jumps to them.
    """
    for transaction in transactions(plan):
        for by, some in groupby(transaction.steps, key=lambda step: step.obj.by):
            match transaction.unit:
                case "iptables":
                    yield by, rules.typed(some)
                case "nft":
                    yield by, nft.typed(some)
                case _:
                    yield by, [line for step in some for line in (say or commands)(step)]


def _scripted(step: Step, line: str, shared: set[str]) -> str:
    """The command as a script has it: what follows waits for a pause, and nothing keeps the script's output open."""
    match step:
        case Add(Sandbox() as pod):
            return f"pause {pod.ns} {pod.hostname}{_OWN_PIDS if pod.share_pid else ''}"
        case Add(Workload() as container):
            if container.ns in shared:
                pids = f" --pid=/proc/${{pause[{container.ns}]}}/ns/pid_for_children unshare --mount-proc"
                line = line.replace(f" unshare{_OWN_PIDS}", pids)
            return line.replace(" &", " </dev/null >/dev/null 2>&1 &")
        case Add(Attachment() as obj) | Remove(Attachment() as obj):
            return orders.scripted(line, obj)
        case Add(TunnelAgent()):
            return line.replace(" &", " </dev/null >/dev/null 2>&1 &")
        case _:
            return line


_OWN_PIDS = " --pid --fork --mount-proc"


def _process(step: Step, obj: NodeAgent | Control | TunnelAgent | KubeProxy | Sandbox | Workload) -> str:
    what = _described(obj)
    # Every process of a lab carries a mark in its environment: its namespace and its role.
    role = obj.key[2]
    marked = f"NSLAB={shlex.quote(f'{obj.ns} {role}')}"
    if isinstance(step, Remove):
        mark = f"{obj.ns} {role}".replace(".", "[.]")
        find = f"grep -lszE '^NSLAB={mark}( |$)' /proc/[0-9]*/environ"
        return f"{find} | cut -d/ -f3 | xargs -r kill -9 || true  # {what}"
    if not isinstance(step, Add):
        return f"# {what}"
    match obj:
        case Control() | KubeProxy():
            return f"# {what}: no command to type; what it wrote stays without it"
        case NodeAgent():
            return f"# {what}: no command to type; it is the parent of what follows"
        case TunnelAgent():
            return f"{marked} ip netns exec {obj.ns} $PYTHON -m nslab.node.tunnel {obj.dev} {obj.local} &"
        case Sandbox():
            hold = f"unshare --uts --ipc{_OWN_PIDS if obj.share_pid else ''} sh -c"
            sleep = shlex.quote(f"hostname {obj.hostname} && exec sleep infinity")
            return f"{marked} ip netns exec {obj.ns} {hold} {sleep} & pause[{obj.ns}]=$!"
        case Workload():
            join = f"nsenter --target ${{pause[{obj.ns}]}} --net --uts --ipc"
            return f"{_environment(obj, marked)} {join} unshare{_OWN_PIDS} {_rights(obj.security)}{_argv(obj)} &"


def _described(obj: Process) -> str:
    match obj:
        case Sandbox():
            return f"pause, the process that holds the namespaces of pod {obj.namespace}/{obj.pod}"
        case Workload():
            return f"container {obj.container}: {' '.join(shlex.join(obj.argv).splitlines())}"
        case TunnelAgent():
            return f"the process behind {obj.dev}, since this kernel has no ipip driver"
        case Control():
            return "the lab's API server and endpoints controller"
        case KubeProxy():
            return "kube-proxy"
        case _:
            return "nslab-node"


def _environment(obj: Workload, marked: str) -> str:
    return " ".join([marked, *(f"{name}={_word(value)}" for name, value in obj.env)])


def _rights(security: Security) -> str:
    """How a command line gives up what the container does without."""
    uid, gid, groups, dropped, _ = security
    more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    whom = (f"--reuid={uid}", f"--regid={gid}", more) if uid or gid or groups else ()
    bounds = (f"--bounding-set={','.join(f'-{name.lower()}' for name in dropped)}",) if dropped else ()
    words = (*whom, *bounds)
    return f"setpriv {' '.join(words)} " if words else ""


def _argv(obj: Workload) -> str:
    words = [_word(word) for word in obj.argv]
    if obj.argv[0] in ("agnhost", "kubedns"):
        words[:1] = ["$PYTHON", "-m", f"nslab.node.{obj.argv[0]}"]
    return " ".join(words)


def _word(text: str) -> str:
    """One word for the shell, on one line."""
    if "\n" not in text:
        return shlex.quote(text)
    return "$'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
