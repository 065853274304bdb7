"""Virtual and real servers of IPVS, the input of `ipvsadm -R`, and the output of `ipvsadm -Sn`.

`ipvsadm -R` is no transaction: it reports a line that the kernel refuses, without its number, and continues with the
next one; it even exits with status 0. Which lines the kernel refused follows from the state before: see `refusals`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass
from nslab.objects.base import Add, KernelObject, Remove
from nslab.objects.keys import Layer
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.objects.base import Step, Unit
    from nslab.objects.keys import Key

_OPTIONS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_NOT_UNICAST = "Invalid operation.  Possibly wrong module version, address not unicast, ..."
_PROTOCOLS = {option: protocol for protocol, option in _OPTIONS.items()}


class Server(KernelObject):
    """An object that a line of `ipvsadm -R` adds or removes."""

    __slots__ = ()

    unit: ClassVar[Unit] = "ipvs"
    unicast: ClassVar[bool] = False
    """Its own address must be unicast."""

    @abstractmethod
    def command(self, step: Step) -> str:
        """The line of `ipvsadm -R` for a step."""
        raise NotImplementedError

    @abstractmethod
    def reason(self, step: Step, now: dict[Key, Server]) -> str:
        """ipvsadm's message if the kernel, which has the servers `now`, refuses a step; else ""."""
        raise NotImplementedError

    def changes_into(self, new: KernelObject) -> bool:
        return type(self) is type(new)

    def lines(self, step: Step) -> list[str]:
        return [" ".join([fill("ip netns exec {} ipvsadm", self.ns), *map(quote, self.command(step).split())])]

    @property
    def sentence(self) -> str:
        return f"{self.host} balances by its {self.label}"


@dataclass(frozen=True, slots=True)
class VirtualServer(Server):
    """An address and port that IPVS balances. `service` is IP:PORT, `protocol` tcp, udp or sctp.

    `persistence`: seconds of affinity, 0 for none. `flags`: the scheduler's, as ipvsadm writes them (mh-port, …).
    """

    protocol: str
    service: str
    scheduler: str
    persistence: int = 0
    flags: str = ""

    rank: ClassVar[int] = Layer.BALANCER
    primitives: ClassVar[tuple[str, ...]] = ("ip_vs",)

    @property
    def key(self) -> Key:
        return ("VirtualServer", self.ns, self.protocol, self.service)

    def command(self, step: Step) -> str:
        where = f"{_OPTIONS[self.protocol]} {self.service}"
        if isinstance(step, Remove):
            return f"-D {where}"
        affinity = f" -p {self.persistence}" if self.persistence else ""
        flags = f" -b {self.flags}" if self.flags else ""
        return f"{'-A' if isinstance(step, Add) else '-E'} {where} -s {self.scheduler}{affinity}{flags}"

    def reason(self, step: Step, now: dict[Key, Server]) -> str:
        if isinstance(step, Add):
            return "Service already exists" if self.key in now else ""
        return "" if self.key in now else "No such service"

    @property
    def label(self) -> str:
        return f"IPVS virtual server {self.service}/{self.protocol}"

    @property
    def listed(self) -> tuple[str, str]:
        return "IPVS virtual servers", f"{self.protocol} {self.service}"


@dataclass(frozen=True, slots=True)
class RealServer(Server):
    """A destination of a virtual server: `server` is IP:PORT, in masquerading mode."""

    protocol: str
    service: str
    server: str
    weight: int = 1

    rank: ClassVar[int] = Layer.BALANCER + 1
    unicast: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("RealServer", self.ns, self.protocol, self.service, self.server)

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("VirtualServer", self.ns, self.protocol, self.service),)

    def command(self, step: Step) -> str:
        where = f"{_OPTIONS[self.protocol]} {self.service} -r {self.server}"
        if isinstance(step, Remove):
            return f"-d {where}"
        return f"{'-a' if isinstance(step, Add) else '-e'} {where} -m -w {self.weight}"

    def reason(self, step: Step, now: dict[Key, Server]) -> str:
        if self.requires[0] not in now:
            return "Service not defined"
        if isinstance(step, Add):
            return "Destination already exists" if self.key in now else ""
        return "" if self.key in now else "No such destination"

    @property
    def label(self) -> str:
        return f"IPVS real server {self.server} of {self.service}/{self.protocol}"

    @property
    def listed(self) -> tuple[str, str]:
        return "IPVS real servers", self.server


def ipvsadm_restore(steps: Iterable[Step]) -> str:
    """Input for `ipvsadm -R`, one line for each step."""
    return "".join(f"{step.obj.command(step)}\n" for step in steps if isinstance(step.obj, Server))


def ipvs_found(ns: str, saved: str) -> Iterator[Server]:
    """The servers in the output of `ipvsadm -Sn`, without those of firewall marks."""
    for line in saved.splitlines():
        match line.split():
            case ["-A", option, service, *options] if option in _PROTOCOLS:
                seconds = int(_after("-p", options) or 0)
                yield VirtualServer(
                    ns, _PROTOCOLS[option], service, _after("-s", options), seconds, _after("-b", options)
                )
            case ["-a", option, service, "-r", server, *options] if option in _PROTOCOLS:
                yield RealServer(ns, _PROTOCOLS[option], service, server, int(_after("-w", options)))


def seen(ns: str, saved: str, known: Iterable[KernelObject]) -> Iterator[Server]:
    """The same, without unknown real servers that are terminating.

    Their weight is 0: kube-proxy waits for their connections to end.
    """
    keys = {obj.key for obj in known}
    for server in ipvs_found(ns, saved):
        if not isinstance(server, RealServer) or server.weight or server.key in keys:
            yield server


def _after(option: str, words: Sequence[str]) -> str:
    """The value of an option; "" if it is absent."""
    return dict(zip(words, [*words[1:], ""], strict=True)).get(option, "")


def refusals(
    there: Iterable[KernelObject], steps: Sequence[Step], *, addressed: bool = True
) -> tuple[dict[int, str], tuple[Server, ...]]:
    """ipvsadm's message for each step (by index) that the kernel refuses if it has `there`; the servers afterwards.

    `addressed`: the namespace has or had an address. Before the first one it has no table `local`, and Linux treats
    every real server's address as a broadcast address.
    """
    now: dict[Key, Server] = {obj.key: obj for obj in there if isinstance(obj, Server)}
    refused: dict[int, str] = {}
    for index, step in enumerate(steps):
        obj = step.obj
        assert isinstance(obj, Server)
        reason = obj.reason(step, now)
        if not reason and obj.unicast and isinstance(step, Add) and not addressed:
            reason = _NOT_UNICAST
        if reason:
            refused[index] = reason
        elif isinstance(step, Remove):
            now = {key: other for key, other in now.items() if obj.key not in (key, *other.requires)}
        else:
            now[obj.key] = obj
    return refused, tuple(now.values())
