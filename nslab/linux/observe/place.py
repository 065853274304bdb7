"""The input and the output of readers: a namespace that is observed, and the objects found in it."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

from nslab.dataclass import dataclass
from nslab.linux.observe.host import driver
from nslab.linux.rules import restore

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping, Sequence, Set

    from nslab.linux.netns import Namespaces
    from nslab.linux.processes.procs import Record
    from nslab.objects.base import KernelObject
    from nslab.objects.interfaces import Interfaces
    from nslab.objects.unmanaged import Unmanaged

Settings: TypeAlias = "Mapping[str, str]"
"""The texts of a namespace's settings, by path under /proc/sys."""
FALLBACK = {"tunl0", "gre0", "gretap0", "erspan0", "ip_vti0", "ip6_vti0", "sit0", "ip6tnl0", "ip6gre0"}
"""Interfaces that drivers put into every namespace by themselves."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """What a namespace begins with on this machine: the texts of its settings, its interfaces, its routing rules."""

    settings: Settings
    interfaces: Interfaces
    rules: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class ObservedNamespace:
    """A namespace that is observed, with its interfaces and settings. This thread is in it.

    `known`: the lab's objects that may exist. `ours`: lo, and the lab's interfaces that exist; `plugins`: those that
    CNI plugins made; `names`, `devices`: the names of all interfaces by their numbers, and those of `ours`.
    `settings`: of all of the lab's namespaces. `processes`: those of nobody's that run here; `sockets`: the numbers of
    those that the lab's own processes hold. `iptables`: the variant.
    """

    spaces: Namespaces
    ns: str
    fresh: Fresh
    interfaces: Interfaces
    known: Sequence[KernelObject]
    ours: set[str]
    plugins: set[str]
    settings: Mapping[str, Settings]
    processes: Sequence[Record]
    sockets: Set[int]
    iptables: str
    names: Mapping[int, str]
    devices: Mapping[int, str]

    @property
    def sock(self) -> socket.socket:
        """An rtnetlink socket of the namespace."""
        return self.spaces.route_socket(self.ns)

    def saved(self, *argv: str) -> str:
        """The output of a program that lists rules."""
        return restore.listed(*argv, lock=restore.lock_of(self.ns))

    def could_have(self, unit: str) -> bool:
        """Whether an object of a unit is known; if none is, no program need be run, which would load modules."""
        return any(obj.unit == unit for obj in self.known)


Found: TypeAlias = "tuple[Iterable[KernelObject], Iterable[Unmanaged]]"
"""The lab's objects, and unmanaged ones."""


@cache
def is_safe_to_ask(module: str) -> bool:
    """Whether a request to a module's subsystem loads no module."""
    return driver(module) or not os.path.exists(f"/lib/modules/{os.uname().release}")
