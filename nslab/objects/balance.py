"""The nouns of the service network: IPVS, nftables, and the processes that keep Services up to date."""

from __future__ import annotations

import re
from typing import ClassVar

from nslab.dataclass import dataclass
from nslab.objects.noun import Device, Key, Noun, Process

_TIMEOUT = re.compile(r"\btimeout [0-9]\w* ;")


@dataclass(frozen=True, slots=True)
class Dummy(Device):
    """An interface that swallows what it is given; it is there to have addresses. It is left down."""


@dataclass(frozen=True, slots=True)
class VirtualServer(Noun):
    """An address and port that IPVS balances. `service` is IP:PORT, `protocol` tcp, udp or sctp.

    `persistence`: seconds of affinity, 0 for none. `flags`: the scheduler's, as ipvsadm writes them (mh-port, …).
    """

    protocol: str
    service: str
    scheduler: str
    persistence: int = 0
    flags: str = ""

    @property
    def key(self) -> Key:
        return ("VirtualServer", self.ns, self.protocol, self.service)


@dataclass(frozen=True, slots=True)
class RealServer(Noun):
    """Where a virtual server sends connections: `server` is IP:PORT, reached by masquerading."""

    protocol: str
    service: str
    server: str
    weight: int = 1

    @property
    def key(self) -> Key:
        return ("RealServer", self.ns, self.protocol, self.service, self.server)

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("VirtualServer", self.ns, self.protocol, self.service),)


@dataclass(frozen=True, slots=True)
class NftTable(Noun):
    """A table of nftables, of family ip."""

    name: str
    comment: str = ""

    @property
    def key(self) -> Key:
        return ("NftTable", self.ns, self.name)


@dataclass(frozen=True, slots=True)
class InTable(Noun):
    """Something in a table of nftables."""

    table: str

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("NftTable", self.ns, self.table),)


@dataclass(frozen=True, slots=True)
class NftSet(InTable):
    """A named set, or (`map`) a map to verdicts. `spec` is what stands in the braces of its declaration."""

    name: str
    spec: str
    map: bool = False

    @property
    def key(self) -> Key:
        return ("NftSet", self.ns, self.table, self.name)

    def alike(self, other: NftSet) -> bool:
        """Whether they differ in their time-out at most: the one thing that the kernel changes in place."""
        return (self.map, _TIMEOUT.sub("", self.spec)) == (other.map, _TIMEOUT.sub("", other.spec))


@dataclass(frozen=True, slots=True)
class NftChain(InTable):
    """A chain with its whole body. `hook` is what stands in the braces of a base chain's declaration."""

    name: str
    hook: str
    rules: tuple[str, ...]

    @property
    def key(self) -> Key:
        return ("NftChain", self.ns, self.table, self.name)


@dataclass(frozen=True, slots=True)
class NftElement(InTable):
    """One element of a set, or one entry of a map with its verdict."""

    set: str
    element: str
    verdict: str = ""
    comment: str = ""

    @property
    def key(self) -> Key:
        return ("NftElement", self.ns, self.table, self.set, self.element)

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("NftSet", self.ns, self.table, self.set),)


@dataclass(frozen=True, slots=True)
class Control(Process):
    """The lab's own process: the API server's and the endpoints controller's part. It is its own node."""

    role: ClassVar[str] = "control"


@dataclass(frozen=True, slots=True)
class KubeProxy(Process):
    """A node's kube-proxy: it watches control and keeps the node's rules. `settings`: its `Proxy`, as JSON."""

    role: ClassVar[str] = "kube-proxy"
    settings: str
