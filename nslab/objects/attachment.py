"""A pod's network as CNI plugins make it: one object for all its interfaces, routes and rules."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar

from nslab.cni.chain import invocation
from nslab.dataclass import dataclass
from nslab.objects.base import Add, KernelObject, Remove, Replace
from nslab.objects.keys import Layer
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

    from nslab.cni.chain import Command, Wiring
    from nslab.objects.base import Step, Unit
    from nslab.objects.keys import Key

_FUNCTION = """
state=$(mktemp -d)         # the plugins' state: each node has its own /var/lib, and its own lock of iptables

cni() {  # NETNS PLUGIN: run it in a node's namespace
  mkdir -p "$state/$1"
  XTABLES_LOCKFILE="$state/$1/lock" ip netns exec "$1" sh -c 'mount --bind "$0" /var/lib && exec "$1"' "$state/$1" "$2"
}
"""
"""For a script: `ip netns exec` gives a program its own mount namespace, but its /var/lib is still the machine's."""


@dataclass(frozen=True, slots=True)
class Attachment(KernelObject):
    """The interface of the pod in `ns`, made by the plugins of a list, which run in `node` (a namespace, too).

    `address`: the pod's, which the plugins decide. `fault`: what is wrong with it, by the plugins' CHECK or by
    observation. The desired state has no fault, so a faulty attachment is removed and added again.
    """

    node: str
    wiring: Wiring
    address: IPv4Address
    fault: str = ""

    rank: ClassVar[int] = Layer.ATTACHMENT
    unit: ClassVar[Unit] = "cni"
    primitives: ClassVar[tuple[str, ...]] = ("veth",)
    functions: ClassVar[str] = _FUNCTION
    tells_why: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("Attachment", self.ns, self.wiring.ifname)

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("Netns", self.ns), ("Netns", self.node))

    @property
    def vanishes_with(self) -> tuple[Key, ...]:
        return ()  # plugins keep state of it outside the namespace

    @property
    def where(self) -> tuple[str, ...]:
        return (self.node, self.ns)

    def lines(self, step: Step) -> list[str]:
        return self._typed(step, "ip netns exec")

    def script_lines(self, step: Step, _all: Mapping[Key, KernelObject]) -> list[str]:
        return self._typed(step, "cni")

    def _typed(self, step: Step, way: str) -> list[str]:
        """The commands for ADD, DEL, or both. `way`: the command that runs a program on a node."""
        match step:
            case Add():
                return self.add_lines(way)
            case Remove():
                return self.delete_lines(way)
            case Replace(old=old):
                assert isinstance(old, Attachment)
                return [*old.delete_lines(way), *self.add_lines(way)]

    def add_lines(self, way: str) -> list[str]:
        """ADD for each plugin of the list, with the result of the one before it."""
        indexes = range(len(self.wiring.network.types))
        return [f"made=$({self._run(way, index, 'ADD', chained=index > 0)})" for index in indexes]

    def delete_lines(self, way: str) -> list[str]:
        """DEL for each plugin of the list, last first."""
        return [self._run(way, index, "DEL") for index in reversed(range(len(self.wiring.network.types)))]

    def _run(self, way: str, index: int, command: Command, *, chained: bool = False) -> str:
        call = invocation(self.wiring, index, command, self.address, {} if chained else None)
        parameters = " ".join(f"{name}={quote(value)}" for name, value in call.env.items())
        config = json.loads(call.stdin)
        text = quote(call.stdin)
        if config.pop("prevResult", None) is not None:
            text = f"{quote(json.dumps(config, ensure_ascii=False)[:-1])}', \"prevResult\": '\"$made\"'}}'"
        return f"{parameters} {way} {fill('{} {}', self.node, call.program)} <<< {text}"

    @property
    def label(self) -> str:
        network = self.wiring.network
        return f"{self.wiring.ifname} by CNI network {network.name} ({', '.join(network.types)})"

    @property
    def sentence(self) -> str:
        return f"{self.host} has {self.address} on {self.label}"

    def unwanted(self) -> str:
        return f"{self.host}'s {self.label}: {self.fault or 'not as in the lab'}"
