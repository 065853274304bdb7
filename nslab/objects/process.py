"""The processes of nslab's components: nodes, API server, tunnel stand-in, kube-proxies."""

from __future__ import annotations

import json
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from nslab.dataclass import dataclass, field
from nslab.objects.base import Add, KernelObject, Remove
from nslab.objects.keys import Layer
from nslab.quote import comment, fill, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

    from nslab.objects.base import Step, Unit
    from nslab.objects.keys import Key

MOST_STARTS = 256
"""The maximum steps of a transaction that starts processes: signals wait for its end; progress advances by it."""
PYTHON = "$PYTHON -P -m nslab.components"
"""-P: Python must not import a folder `nslab` of the current directory."""
QUIET = " </dev/null >/dev/null 2>&1 &"
"""Keeps a process from holding the script's output open."""

_FUNCTIONS = """
# The built-in server and the tunnel process are modules of nslab.
$PYTHON -P -c 'import nslab.components' 2>/dev/null || {
  echo "$PYTHON cannot import nslab: run this script with PYTHON=…, the python that has nslab" >&2
  exit 1
}
declare -A pause  # the process that holds a pod's namespaces, by the pod's network namespace

pause() {  # POD HOSTNAME [OPTIONS OF unshare]: start it in $NETNS or the pod's own; return when its namespaces exist
  local ns=$1 host=$2 ready
  read -r ready < <(
    exec env NSLAB="$ns pause" ip netns exec "${NETNS:-$ns}" unshare --uts --ipc "${@:3}" \\
      sh -c 'hostname "$0" && echo ready && exec sleep infinity </dev/null >/dev/null 2>&1' "$host"
  )
  pause[$ns]=$!
}
"""


@dataclass(frozen=True, slots=True)
class Process(KernelObject):
    """A process in `ns`; the process of `node` (a namespace too) starts and reaps it, and may end before it."""

    role: ClassVar[str] = ""
    node: str

    rank: ClassVar[int] = Layer.PROCESS
    unit: ClassVar[Unit] = "process"
    at_once: ClassVar[int] = MOST_STARTS
    outlives: ClassVar[bool] = True
    functions: ClassVar[str] = _FUNCTIONS

    @property
    def key(self) -> Key:
        return ("Process", self.ns, self.role)

    @property
    def where(self) -> tuple[str, ...]:
        return ()

    @property
    def vanishes_with(self) -> tuple[Key, ...]:
        return ()

    @property
    def ends_with(self) -> tuple[Key, ...]:
        return (("Process", self.node, NodeAgent.role),)

    @property
    def mark(self) -> str:
        """The value of NSLAB in its environment: its namespace and its role."""
        return f"{self.ns} {self.key[2]}"

    @property
    @abstractmethod
    def description(self) -> str:
        """Its description for a comment."""
        raise NotImplementedError

    @abstractmethod
    def started(self) -> str:
        """The command that starts it, or a comment."""
        raise NotImplementedError

    def lines(self, step: Step) -> list[str]:
        if isinstance(step, Add):
            return [self.started()]
        if not isinstance(step, Remove):
            return [comment(self.description)]
        pattern = f"^NSLAB={self.mark.replace('.', '[.]')}( |$)"
        find = fill("grep -lszE {}", pattern) + " /proc/[0-9]*/environ"
        return [f"{find} | cut -d/ -f3 | xargs -r kill -9 || true  # {one_line(self.description)}"]

    @property
    def sentence(self) -> str:
        return f"{self.host} has its {self.label}"


@dataclass(frozen=True, slots=True)
class NodeAgent(Process):
    """nslab-node: the parent of a node's processes, which writes their logs. It is its own node (`node == ns`)."""

    role: ClassVar[str] = "node"
    rank: ClassVar[int] = Layer.NODE

    @property
    def description(self) -> str:
        return "nslab-node"

    def started(self) -> str:
        return f"{comment(self.description)}: no command to type; it is the parent of what follows"

    @property
    def label(self) -> str:
        return "nslab-node process"


@dataclass(frozen=True, slots=True)
class Control(Process):
    """The lab's own process, API server and endpoints controller in one. It is its own node."""

    role: ClassVar[str] = "control"
    rank: ClassVar[int] = Layer.NODE

    @property
    def description(self) -> str:
        return "the lab's API server and endpoints controller"

    def started(self) -> str:
        return f"{comment(self.description)}: no command to type; what it wrote stays without it"

    @property
    def label(self) -> str:
        return "nslab-control process"

    @property
    def listed(self) -> tuple[str, str]:
        return "processes", self.label


class Supervised(Process):
    """A process that the process of its node starts and ends."""

    __slots__ = ()

    @abstractmethod
    def request(self) -> dict[str, Any]:
        """The request to the node's process that starts it."""
        raise NotImplementedError

    def changing(self, old: Supervised) -> tuple[dict[str, Any], ...]:
        """The requests that put it in the place of `old`."""
        return ({"op": "remove", **old.request()}, {"op": "add", **self.request()})


@dataclass(frozen=True, slots=True)
class TunnelAgent(Supervised):
    """The process behind a `Tun`: it encapsulates packets in IP protocol 4, and decapsulates in the other direction."""

    role: ClassVar[str] = "tunnel"
    dev: str
    local: IPv4Address

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("Device", self.ns, self.dev),)

    @property
    def description(self) -> str:
        return f"the process behind {self.dev}, since this kernel has no ipip driver"

    def started(self) -> str:
        return f"{self._command} &"

    def script_lines(self, step: Step, _all: Mapping[Key, KernelObject]) -> list[str]:
        return [f"{self._command}{QUIET}"] if isinstance(step, Add) else self.lines(step)

    @property
    def _command(self) -> str:
        run = fill("NSLAB={} ip netns exec {}", self.mark, self.ns)
        return f"{run} {PYTHON}.ipip.tunnel {fill('{} {}', self.dev, self.local)}"

    def request(self) -> dict[str, Any]:
        return {"what": "TunnelAgent", "ns": self.ns, "dev": self.dev, "local": str(self.local)}

    @property
    def label(self) -> str:
        return f"process behind {self.dev}"


class NodeComponent(Supervised):
    """A component that watches the API server and writes a node's rules. `settings`: what it is told, as JSON."""

    __slots__ = ()
    settings: str

    @property
    def description(self) -> str:
        return self.role

    def started(self) -> str:
        return f"{comment(self.description)}: no command to type; what it wrote stays without it"

    def request(self) -> dict[str, Any]:
        return {"what": "NodeComponent", "ns": self.ns, "role": self.role, "settings": json.loads(self.settings)}

    @property
    def label(self) -> str:
        return f"{self.role} process"

    @property
    def whose(self) -> str:
        return ""  # the label already names the component

    @property
    def listed(self) -> tuple[str, str]:
        return "processes", self.label


@dataclass(frozen=True, slots=True)
class KubeProxy(NodeComponent):
    """A node's kube-proxy, which makes Services reachable. `settings`: its `Proxy`, as JSON."""

    role: ClassVar[str] = "kube-proxy"
    settings: str


@dataclass(frozen=True, slots=True)
class Felix(NodeComponent):
    """A node's Felix, which enforces policies. `settings`: its node, dataplane and variant of iptables, as JSON."""

    role: ClassVar[str] = "felix"
    settings: str

    @property
    def primitives(self) -> tuple[str, ...]:
        nft = json.loads(self.settings).get("dataplane") == "nftables"
        return ("nftables fib",) if nft else ("rpfilter, CT, multiport",)


@dataclass(frozen=True, slots=True)
class Bird(Supervised):
    """A machine's BIRD, which speaks BGP. `config`: the text of bird.conf. `program`: the path of bird.

    `writes`: it writes the routes to pods; if not, Felix does.
    """

    role: ClassVar[str] = "bird"
    primitives: ClassVar[tuple[str, ...]] = ("BIRD",)
    config: str
    program: str = field(compare=False)
    writes: bool = True

    @property
    def description(self) -> str:
        return "BIRD"

    def started(self) -> str:
        return f"{comment(self.description)}: it speaks BGP; what it wrote stays without it"

    def request(self) -> dict[str, Any]:
        return {"what": "Bird", "role": self.role, "config": self.config, "program": self.program}

    def changes_into(self, new: KernelObject) -> bool:
        # With its old configuration, a running one would take Felix's routes for its own.
        return isinstance(new, Bird) and new.writes == self.writes

    def changing(self, _old: Supervised) -> tuple[dict[str, Any], ...]:
        return ({"op": "add", **self.request()},)  # it reads another configuration while it runs

    @property
    def label(self) -> str:
        return "BIRD process"

    @property
    def whose(self) -> str:
        return ""

    def differing(self, _old: KernelObject) -> str:
        return f"{self.host}'s BIRD has another configuration (/run/bird/bird.conf)"

    @property
    def listed(self) -> tuple[str, str]:
        return "processes", self.label
