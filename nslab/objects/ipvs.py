"""Virtual and real servers of IPVS: the commands that a person types, and what `ipvsadm -R` takes and `-S` gives.

`ipvsadm -R` is no transaction: where the kernel refuses a line it says so, without a number, and goes on with the
next; it even ends with status 0. Which lines were refused follows from what was there before: see `refusals`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from nslab.objects.balance import RealServer, VirtualServer
from nslab.objects.plan import Add, Remove
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.objects.noun import Key
    from nslab.objects.plan import Step

Servers: TypeAlias = VirtualServer | RealServer

_OPTIONS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
_NOT_UNICAST = "Invalid operation.  Possibly wrong module version, address not unicast, ..."
_PROTOCOLS = {option: protocol for protocol, option in _OPTIONS.items()}


def lines(step: Step, obj: Servers) -> list[str]:
    """The commands for one step."""
    return [" ".join([fill("ip netns exec {} ipvsadm", obj.ns), *map(quote, _line(step, obj).split())])]


def ipvsadm_restore(steps: Iterable[Step]) -> str:
    """Input for `ipvsadm -R`, a line a step."""
    return "".join(f"{_line(step, step.obj)}\n" for step in steps if isinstance(step.obj, VirtualServer | RealServer))


def _line(step: Step, obj: Servers) -> str:
    where = f"{_OPTIONS[obj.protocol]} {obj.service}"
    match step, obj:
        case Remove(), VirtualServer():
            return f"-D {where}"
        case Remove(), RealServer():
            return f"-d {where} -r {obj.server}"
        case _, VirtualServer():
            affinity = f" -p {obj.persistence}" if obj.persistence else ""
            flags = f" -b {obj.flags}" if obj.flags else ""
            return f"{'-A' if isinstance(step, Add) else '-E'} {where} -s {obj.scheduler}{affinity}{flags}"
        case _, RealServer():
            return f"{'-a' if isinstance(step, Add) else '-e'} {where} -r {obj.server} -m -w {obj.weight}"
    raise AssertionError(step)


def ipvs_found(ns: str, saved: str) -> Iterator[Servers]:
    """The servers in the output of `ipvsadm -Sn`; those of firewall marks are nobody's."""
    for line in saved.splitlines():
        match line.split():
            case ["-A", option, service, *said] if option in _PROTOCOLS:
                seconds = int(_after("-p", said) or 0)
                yield VirtualServer(ns, _PROTOCOLS[option], service, _after("-s", said), seconds, _after("-b", said))
            case ["-a", option, service, "-r", server, *said] if option in _PROTOCOLS:
                yield RealServer(ns, _PROTOCOLS[option], service, server, int(_after("-w", said)))


def _after(option: str, words: Sequence[str]) -> str:
    """The value of an option; nothing, if it is not given."""
    return dict(zip(words, [*words[1:], ""], strict=True)).get(option, "")


def refusals(
    there: Iterable[Servers], steps: Sequence[Step], *, addressed: bool = True
) -> tuple[dict[int, str], tuple[Servers, ...]]:
    """The steps that the kernel refuses if it has `there`, by place, in ipvsadm's words; and what it has afterwards.

    `addressed`: the namespace has or had an address. Before the first one it has no table `local`, and Linux takes
    every real server for a broadcast.
    """
    now: dict[Key, Servers] = {obj.key: obj for obj in there}
    refused: dict[int, str] = {}
    for place, step in enumerate(steps):
        obj = step.obj
        assert isinstance(obj, VirtualServer | RealServer)
        reason = _reason(step, obj, now)
        if not reason and isinstance(obj, RealServer) and isinstance(step, Add) and not addressed:
            reason = _NOT_UNICAST
        if reason:
            refused[place] = reason
        elif isinstance(step, Remove):
            now = {key: other for key, other in now.items() if obj.key not in (key, *other.lies_on)}
        else:
            now[obj.key] = obj
    return refused, tuple(now.values())


def _reason(step: Step, obj: Servers, now: dict[Key, Servers]) -> str:
    missing = obj.key not in now
    match obj:
        case VirtualServer() if isinstance(step, Add):
            return "" if missing else "Service already exists"
        case VirtualServer():
            return "No such service" if missing else ""
        case RealServer() if obj.lies_on[0] not in now:
            return "Service not defined"
        case RealServer() if isinstance(step, Add):
            return "" if missing else "Destination already exists"
        case RealServer():
            return "No such destination" if missing else ""
