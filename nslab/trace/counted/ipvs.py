"""IPVS' virtual servers with their counters, as `ipvsadm -Ln` prints them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.trace.counted.values import CountedChain, CountedRule, EndpointShare, RuleCounter, ServiceShare

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from nslab.trace.counted.names import ServiceNames

TABLE = "ipvs"
_PROTOCOLS = ("TCP", "UDP", "SCTP", "FWM")
"""What a virtual server's line begins with; that of a firewall mark names no address."""


class _Statistics(NamedTuple):
    connections: int
    counter: RuleCounter


class _Virtual(NamedTuple):
    """A virtual server: `where` is IP:PORT, `how` its scheduler and flags, `real` the weights of its real servers."""

    protocol: str
    where: str
    how: str
    real: dict[str, int]


def ipvs_servers(
    listed: str, statistics: str, names: ServiceNames, by: str
) -> tuple[list[CountedChain], list[ServiceShare]]:
    """The virtual servers, each as a chain of its real servers, and what each of these got.

    `listed`: `ipvsadm -Ln`; `statistics`: `ipvsadm -Ln --stats --exact`; `by`: who wrote them.
    """
    counted = dict(_statistics(statistics))
    every = [*_virtual_servers(listed)]
    return [_chain(one, counted, names, by) for one in every], [_share(one, counted, names) for one in every]


def _virtual_servers(listed: str) -> Iterator[_Virtual]:
    current = None
    for line in listed.splitlines():
        match line.split():
            case [protocol, where, *how] if protocol in _PROTOCOLS:
                if current:
                    yield current
                current = _Virtual(protocol, where, " ".join(how), {})
            case ["->", real, _, weight, *_] if current and weight.isdecimal():
                current.real[real] = int(weight)
    if current:
        yield current


def _statistics(text: str) -> Iterator[tuple[tuple[str, str, str], _Statistics]]:
    """By protocol, virtual server and real server ("" for the virtual server itself)."""
    protocol = where = ""
    for line in text.splitlines():
        match line.split():
            case [kind, address, *numbers] if kind in _PROTOCOLS and [*map(str.isdecimal, numbers)] == [True] * 5:
                protocol, where = kind, address
                yield (protocol, where, ""), _read(numbers)
            case ["->", real, *numbers] if [*map(str.isdecimal, numbers)] == [True] * 5:
                yield (protocol, where, real), _read(numbers)


def _read(numbers: Sequence[str]) -> _Statistics:
    connections, packets, _, size, _ = map(int, numbers)
    return _Statistics(connections, RuleCounter(packets, size))


def _chain(
    one: _Virtual, counted: Mapping[tuple[str, str, str], _Statistics], names: ServiceNames, by: str
) -> CountedChain:
    service, total = _service(one, names), sum(one.real.values())
    rules = []
    for real, weight in one.real.items():
        found = counted.get((one.protocol, one.where, real))
        comment = names.pods.get(real, "")
        chance = weight / total if total else 0.0
        rules.append(
            CountedRule(
                f"-> {real} weight {weight}", comment, found.counter if found else None, by=by, service=service,
                chance=chance,
            )
        )  # fmt: skip
    own = counted.get((one.protocol, one.where, ""))
    name = f"{one.protocol} {one.where} {one.how}"
    return CountedChain(TABLE, name, tuple(rules), hook="INPUT", policy="", counter=own.counter if own else None)


def _share(one: _Virtual, counted: Mapping[tuple[str, str, str], _Statistics], names: ServiceNames) -> ServiceShare:
    total = sum(one.real.values())
    ends = []
    for real, weight in one.real.items():
        found = counted.get((one.protocol, one.where, real))
        chance = weight / total if total else 0.0
        ends.append(EndpointShare(real, names.pods.get(real, ""), chance, found.connections if found else None))
    name = _service(one, names) or one.where
    return ServiceShare(name, one.protocol.lower(), f"{one.protocol} {one.where}", "IPVS", tuple(ends))


def _service(one: _Virtual, names: ServiceNames) -> str:
    address, _, port = one.where.rpartition(":")
    found = names.at(one.protocol.lower(), address, int(port)) if port.isdecimal() else None
    return found.name if found else ""
