"""nft's statements for NAT (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.trace.rules import nat
from nslab.trace.rules.nft_constants import Unclear, span
from nslab.trace.rules.nft_values import Drawn, field
from nslab.trace.rules.turn import ONE, Move, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from fractions import Fraction

    from nslab.trace.rules.nft_values import NftField, ValueReader
    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import At


def nat_statement(
    name: str, body: Any, lookup: Callable[[Any, NftField], ValueReader]
) -> Callable[[HookPacket, At], Sequence[Turn]]:
    """`dnat`, `snat`, `masquerade` or `redirect`. Raises ValueError."""
    given = body if isinstance(body, dict) else {}
    flags = given.get("flags", ())
    flags = {flags} if isinstance(flags, str) else {str(flag) for flag in flags}
    address, port = _reader(given.get("addr"), lookup), _reader(given.get("port"), lookup)
    draws = not flags.isdisjoint(("random", "fully-random"))

    def statement(packet: HookPacket, at: At) -> Sequence[Turn]:
        return [
            turn._replace(chance=turn.chance and turn.chance * chance)
            for chance, to, ports in _choices(address(packet, at), port(packet, at))
            for turn in _one(name, packet, at, to, ports, draws=draws)
        ]

    return statement


def _reader(value: Any, lookup: Callable[[Any, NftField], ValueReader]) -> ValueReader:
    """An address or a port: a constant as JSON has it, or an expression; False if there is none."""
    if value is None:
        return lambda _packet, _at: False
    if isinstance(value, int | str) or (isinstance(value, dict) and value.keys() <= {"range", "prefix"}):
        return lambda _packet, _at: value
    return field(value, lookup).read


def _choices(address: Any, port: Any) -> Iterator[tuple[Fraction, Any, Any]]:
    for chance, to in address.values if isinstance(address, Drawn) else ((ONE, address),):
        for part, ports in port.values if isinstance(port, Drawn) else ((ONE, port),):
            yield chance * part, to, ports


def _one(name: str, packet: HookPacket, at: At, address: Any, port: Any, *, draws: bool) -> Sequence[Turn]:
    if isinstance(address, Unclear) or isinstance(port, Unclear):
        return nat.unknown(packet, f"{name} to {(address if isinstance(address, Unclear) else port).name}")
    if address is None or port is None:
        return [Turn(packet, Move.BREAK, "")]
    try:
        target = _range(packet, name, address, port, draws=draws)
    except ValueError:
        return nat.unknown(packet, f"{name} to {str(address)[:60]}")
    match name:
        case "dnat":
            return nat.destination(packet, target)
        case "snat":
            return nat.source(packet, target)
        case "redirect":
            return nat.redirect(packet, at, target)
        case _:
            return nat.masquerade(packet, target)


def _range(packet: HookPacket, name: str, address: Any, port: Any, *, draws: bool) -> nat.NatRange:
    match address:
        case {"concat": [first, second]}:
            address, port = first, second
        case {"prefix": _}:
            low, high = span(address, "address")
            own = int(packet.source if name == "snat" else packet.destination)
            assert isinstance(low, int)
            assert isinstance(high, int)
            address = low | own & (low ^ high)
    addresses = (address, address) if type(address) is int else _numbers(address, "address") if address else None
    return nat.NatRange(addresses, None if port is False else _numbers(port, "port"), random=draws)


def _numbers(value: Any, kind: str) -> tuple[int, int]:
    low, high = span(value, kind)
    if not isinstance(low, int) or not isinstance(high, int) or not 0 <= low <= high:
        raise ValueError(str(value))
    return low, high
