"""A plan as a person would type it, into bash.

Names, arguments and environments come from lab files: no word is printed that is not quoted (`nslab.quote`).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, assert_never

from nslab.objects import cni_commands as orders
from nslab.objects import inet, ipvs, links, nft
from nslab.objects import iptables as rules
from nslab.objects.kinds import (
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
from nslab.objects.plan import Add, Remove, Replace, transactions
from nslab.quote import fill, quote, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nslab.objects.plan import Plan, Step

_PREAMBLE = """\
#!/usr/bin/env bash
# {title}
# Made by `nslab plan --script`. Run it as root: containers get root's rights, all of them, so read what they run.
# All of it lives in namespaces named {prefix}*, and goes away by
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
            return [fill("ip netns {} {}", "del" if isinstance(step, Remove) else "add", ns)]
        case (Veth() | Bridge() | Vxlan() | Ipip() | Tun() | Port() | LinkUp() | Dummy()) as link:
            return links.lines(step, link)
        case (Address() | Route() | Blackhole() | Neighbour() | Fdb()) as entry:
            return inet.lines(step, entry)
        case Sysctl() as setting:
            # With slashes, sysctl(8) takes a dot for part of a name (vxlan.calico).
            path = setting.path if "." in setting.path else setting.path.replace("/", ".")
            return [fill("ip netns exec {} sysctl -qw {}", setting.ns, f"{path}={setting.value}")]
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
    lines = [_PREAMBLE.format(title=_one_line(title), prefix=prefix, pattern=prefix.replace(".", "[.]"))]
    if any(isinstance(step.obj, Process) for step in plan):
        lines[0] += _FUNCTIONS
    if any(isinstance(step.obj, Attachment) for step in plan):
        lines[0] += orders.FUNCTION
    shared = {step.obj.ns for step in plan if isinstance(step.obj, Sandbox) and step.obj.share_pid}
    heading = ""
    for by, typed in told(plan, lambda step: _scripted(step, shared)):
        lines += [f"\n{comment(by)}"] if by != heading else []
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


def comment(text: str) -> str:
    """A line that a shell passes over."""
    return f"# {_one_line(text)}"


def _one_line(text: str) -> str:
    return visible(text).replace("\n", r"\n")


def _scripted(step: Step, shared: set[str]) -> list[str]:
    """The commands as a script has them: what follows waits for a pause, and nothing keeps the script's output open."""
    match step:
        case Add(Sandbox() as pod):
            return [fill("pause {} {}", pod.ns, pod.hostname) + (_OWN_PIDS if pod.share_pid else "")]
        case Add(Workload() as container):
            theirs = f"--pid=/proc/${{pause[{quote(container.ns)}]}}/ns/pid_for_children unshare --mount-proc"
            return [f"{_container(container, theirs if container.ns in shared else _OWN)}{_QUIET}"]
        case Add(Attachment() as obj) | Remove(Attachment() as obj) | Replace(obj=Attachment() as obj):
            return orders.lines(step, obj, "cni")
        case Add(TunnelAgent()):
            return [f"{command(step).removesuffix(' &')}{_QUIET}"]
        case _:
            return commands(step)


_OWN_PIDS = " --pid --fork --mount-proc"
_OWN = f"unshare{_OWN_PIDS}"
_QUIET = " </dev/null >/dev/null 2>&1 &"


def _process(step: Step, obj: NodeAgent | Control | TunnelAgent | KubeProxy | Sandbox | Workload) -> str:
    what = _one_line(_described(obj))
    # Every process of a lab carries a mark in its environment: its namespace and its role.
    mark = f"{obj.ns} {obj.key[2]}"
    if isinstance(step, Remove):
        pattern = f"^NSLAB={mark.replace('.', '[.]')}( |$)"
        find = fill("grep -lszE {}", pattern) + " /proc/[0-9]*/environ"
        return f"{find} | cut -d/ -f3 | xargs -r kill -9 || true  # {what}"
    if not isinstance(step, Add):
        return comment(_described(obj))
    match obj:
        case Control() | KubeProxy():
            return f"# {what}: no command to type; what it wrote stays without it"
        case NodeAgent():
            return f"# {what}: no command to type; it is the parent of what follows"
        case TunnelAgent():
            run = fill("NSLAB={} ip netns exec {}", mark, obj.ns)
            return f"{run} {_PYTHON}.ipip.tunnel {fill('{} {}', obj.dev, obj.local)} &"
        case Sandbox():
            hold = f"unshare --uts --ipc{_OWN_PIDS if obj.share_pid else ''} sh -c"
            sleep = quote(f"{fill('hostname {}', obj.hostname)} && exec sleep infinity")
            return f"{fill('NSLAB={} ip netns exec {}', mark, obj.ns)} {hold} {sleep} & pause[{quote(obj.ns)}]=$!"
        case Workload():
            return f"{_container(obj, _OWN)} &"


_PYTHON = "$PYTHON -P -m nslab.components"
"""-P: a folder `nslab` where the person happens to be is not ours."""


def _described(obj: Process) -> str:
    match obj:
        case Sandbox():
            return f"pause, the process that holds the namespaces of pod {obj.namespace}/{obj.pod}"
        case Workload():
            return f"container {obj.container}: {' '.join(map(quote, obj.argv))}"
        case TunnelAgent():
            return f"the process behind {obj.dev}, since this kernel has no ipip driver"
        case Control():
            return "the lab's API server and endpoints controller"
        case KubeProxy():
            return "kube-proxy"
        case _:
            return "nslab-node"


def _container(obj: Workload, pids: str) -> str:
    """A container beside its pause process, as far as a shell can make one. `pids`: how it comes to a pid namespace."""
    join = f"nsenter --target ${{pause[{quote(obj.ns)}]}} --net --uts --ipc {pids}"
    return f"{fill('NSLAB={}', f'{obj.ns} {obj.key[2]}')} {join} {_rights(obj.security)}{_with_environment(obj)}"


def _rights(security: Security) -> str:
    """How a command line gives up what the container does without."""
    uid, gid, groups, dropped, _ = security
    more = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    whom = (f"--reuid={uid}", f"--regid={gid}", more) if uid or gid or groups else ()
    bounds = (f"--bounding-set={','.join(f'-{name.lower()}' for name in dropped)}",) if dropped else ()
    words = (*whom, *bounds)
    return f"setpriv {' '.join(words)} " if words else ""


def _with_environment(obj: Workload) -> str:
    """The container's command, its variables before it: they are its own, and not those of the programs that join.

    `env` takes any name; a shell would take but some, and others as commands.
    """
    program, *arguments = obj.argv
    env = [f"{name}={value}" for name, value in obj.env if name != "NSLAB"]  # which is the mark, whatever the file says
    words = [quote(program)]
    if program in ("agnhost", "kubedns"):
        words = [f"{_PYTHON}.images.{program}"]
    elif env and "=" in program:
        words = ["unshare", "--", quote(program)]  # env would take it for one more variable
    elif not env and program.startswith("-"):
        words = ["--", quote(program)]
    if env:
        options = ["--"] if env[0].startswith("-") else []
        words = ["env", *options, *map(quote, env), *words]
    return " ".join([*words, *map(quote, arguments)])
