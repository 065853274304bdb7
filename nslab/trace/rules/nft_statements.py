"""The statements of `nft -j`: a packet passes each one of a rule, or breaks off, or is changed, or ends (pure)."""

from __future__ import annotations

from fractions import Fraction
from ipaddress import IPv4Address
from operator import ge, gt, le, lt
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from nslab.dataclass import replace
from nslab.trace.rules.nat import unknown
from nslab.trace.rules.nft_constants import KINDS, Elements, Unclear, constant, parts_of, unclear_in, within
from nslab.trace.rules.nft_nat import nat_statement
from nslab.trace.rules.nft_values import Drawn, field
from nslab.trace.rules.packet import Verdict
from nslab.trace.rules.targets import continued, set_mark, untracked
from nslab.trace.rules.turn import ONE, Move, Turn, all_of, always, doubt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nslab.trace.rules.nft_constants import Kind
    from nslab.trace.rules.nft_dump import NftDump
    from nslab.trace.rules.nft_values import NftField, ValueReader
    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import Answer, At, Match

Statement: TypeAlias = "Callable[[HookPacket, At], Sequence[Turn]]"
"""What a statement makes of a packet: CONTINUE goes on in the rule, BREAK with the next rule."""

_PASSED: Final = (
    "counter", "log", "last", "comment", "flow", "ct helper", "ct timeout", "ct expectation", "secmark", "dup", "reset",
    "nftrace", "continue",
)  # fmt: skip
"""Statements after which the packet goes on, and no match sees what they did."""
_COMPARED: Final[dict[str, Callable[[Any, Any], bool]]] = {"<": lt, ">": gt, "<=": le, ">=": ge}


def match(statement: Any, dump: NftDump) -> Match | None:
    """A statement that a packet passes or not; None if it is of another kind. Raises ValueError."""
    match statement:
        case {"match": {"op": str(op), "left": left, "right": right}}:
            own = field(left, dump.lookup)
            asks = _reads(own, _test(op, right, own.kind, dump))
            return _unless_added(right, asks) if isinstance(right, str) and right.startswith("@") else asks
        case {"limit": str(name)}:
            return doubt(f"limit {name}") if name not in dump.limits else _limit(dump.limits[name])
        case {"limit": dict(body)}:
            return _limit(body)
        case {"ct count": {"val": int(limit), **rest}}:
            return _boolean((limit < 1) == bool(rest.get("inv")))
        case {"quota": _}:
            return doubt("quota")
        case {"xt": {"type": "match", "name": str(name)}}:
            return doubt(f"iptables' match {name}")
        case {"set": {"stmt": [*parts]}}:
            return _every([match(part, dump) or _counts(part) for part in parts])
    return None


def _counts(statement: Any) -> Match:
    return always if isinstance(statement, dict) and statement.keys() <= {"counter", "last"} else doubt("set")


def _every(matches: Sequence[Match]) -> Match:
    return lambda packet, at: all_of(matches, packet, at)


def _unless_added(name: str, asks: Match) -> Match:
    """A set to which a rule has just added the packet has more than the dump says."""
    return lambda packet, at: f"{name}, to which a rule adds" if name in packet.added else asks(packet, at)


def _boolean(answer: bool) -> Match:
    return lambda _packet, _at: answer


def _limit(body: Mapping[str, Any]) -> Match:
    """As if the packet were the only one for a while."""
    return _boolean(not body.get("inv"))


def _reads(own: NftField, test: Callable[[Any], Answer]) -> Match:
    def ask(packet: HookPacket, at: At) -> Answer:
        value = own.read(packet, at)
        if value is None:
            return False
        if isinstance(value, Unclear):
            return value.name
        if not isinstance(value, Drawn):
            return test(value)
        chance = sum((part for part, one in value.values if test(one) is True), Fraction(0))
        return chance == 1 if chance in (0, 1) else chance

    return ask


def _test(op: str, right: Any, kind: Kind, dump: NftDump) -> Callable[[Any], Answer]:
    """What a value is compared with. Raises ValueError."""
    if (isinstance(right, str) and right.startswith("@")) or (isinstance(right, dict) and "set" in right):
        elements, name = dump.elements(right, kind)
        return lambda value: _found(elements, name, value, there=op != "!=")
    if op in ("in", "!") and isinstance(kind, str):
        bits = KINDS[kind](right)
        if not isinstance(bits, int):
            raise ValueError("bits of a word")
        return lambda value: bool(value & bits) == (op == "in") if isinstance(value, int) else "bits of a word"
    if op in _COMPARED and isinstance(kind, str):
        limit, compare = KINDS[kind](right), _COMPARED[op]
        return lambda value: (
            compare(value, limit) if isinstance(value, int) and isinstance(limit, int) else f"{op} of words"
        )
    if op not in ("==", "!="):
        raise ValueError(f"comparison {op[:20]}")
    if right is True and kind == "interface":
        return lambda value: bool(value) == (op == "==")
    spans = constant(right, kind)
    return lambda value: _equal(value, spans, there=op == "==")


def _equal(value: Any, spans: Sequence[tuple[Any, Any]], *, there: bool) -> Answer:
    parts = parts_of(value)
    unclear = unclear_in(parts)
    same = all(isinstance(part, Unclear) or within(part, span) for part, span in zip(parts, spans, strict=True))
    return unclear if unclear and same else same == there


def _found(elements: Elements, name: str, value: Any, *, there: bool) -> Answer:
    parts = parts_of(value)
    found, unclear = bool(elements.find(parts)), unclear_in(parts)
    return f"{unclear} in {name}".rstrip() if unclear and found else found == there


def statement(one: Any, dump: NftDump) -> Statement:
    """Any other statement. Raises ValueError."""
    if not isinstance(one, dict) or len(one) != 1:
        raise ValueError(f"no statement: {str(one)[:40]}")
    ((name, body),) = one.items()
    match name:
        case "accept" | "drop" | "return" | "jump" | "goto":
            turn = _verdict(one)
            return lambda packet, _at: [turn(packet)]
        case "vmap":
            return _vmap(body, dump)
        case "mangle":
            return _mangle(body, dump)
        case "dnat" | "snat" | "masquerade" | "redirect":
            return nat_statement(name, body, dump.lookup)
        case "reject":
            how = _reject(body)
            return lambda packet, _at: [Turn(packet, Move.END, f"reject {how}", verdict=Verdict.REJECT, reject=how)]
        case "notrack":
            return lambda packet, at: continued(untracked(packet, at), "notrack")
        case "set":
            to, how = str(body["set"]), f"{body['op']} {body['set']}"
            return lambda packet, _at: continued(replace(packet, added=packet.added | {to}), how)
        case str() if name in _PASSED:
            return lambda packet, _at: continued(packet, name if name not in ("counter", "continue") else "")
    raise ValueError(f"{name[:40]}")


def _verdict(one: Any) -> Callable[[HookPacket], Turn]:
    match one:
        case {"accept": _}:
            return lambda packet: Turn(packet, Move.END, "accept", verdict=Verdict.ACCEPT)
        case {"drop": _}:
            return lambda packet: Turn(packet, Move.END, "drop", verdict=Verdict.DROP)
        case {"return": _}:
            return lambda packet: Turn(packet, Move.RETURN, "return")
        case {"continue": _}:
            return lambda packet: Turn(packet, Move.CONTINUE, "")
        case {"jump": {"target": str(chain)}}:
            return lambda packet: Turn(packet, Move.JUMP, f"jump {chain}", to=chain)
        case {"goto": {"target": str(chain)}}:
            return lambda packet: Turn(packet, Move.GOTO, f"goto {chain}", to=chain)
    raise ValueError(f"verdict {str(one)[:40]}")


def _reject(body: Any) -> str:
    """With which message, as iptables names it."""
    match body:
        case {"type": "tcp reset"}:
            return "tcp-reset"
        case {"type": "icmp" | "icmpx", "expr": str(what)}:
            return f"icmp-{what}"
        case None:
            return "icmp-port-unreachable"
    raise ValueError("reject")


def _vmap(body: Any, dump: NftDump) -> Statement:
    own = field(body["key"], dump.lookup)
    elements, name = dump.elements(body["data"], own.kind)

    def ask(packet: HookPacket, at: At) -> Sequence[Turn]:
        value = own.read(packet, at)
        chances: dict[str, Fraction] = {}
        verdicts: dict[str, Any] = {}
        missed = ONE
        for chance, one in value.values if isinstance(value, Drawn) else ((ONE, value),):
            parts = parts_of(one)
            found, unclear = [] if one is None else elements.find(parts), unclear_in(parts)
            if unclear and found:
                return _any_of(packet, found, f"{unclear} in {name}".rstrip())
            for verdict in found:
                key = str(verdict)
                verdicts[key], chances[key] = verdict, chances.get(key, Fraction(0)) + chance
                missed -= chance
        turns = [_listed_verdict(verdict, packet, chances[key]) for key, verdict in verdicts.items()]
        return [*turns, *[Turn(packet, Move.BREAK, "", chance=missed)] * bool(missed)]

    return ask


def _listed_verdict(one: Any, packet: HookPacket, chance: Fraction | None) -> Turn:
    """The verdict of an element; of one that is none, nobody knows what it does."""
    try:
        return _verdict(one)(packet)._replace(chance=chance)
    except ValueError as error:
        return unknown(packet, str(error))[0]


def _any_of(packet: HookPacket, verdicts: Sequence[Any], name: str) -> Sequence[Turn]:
    """One of them, or none."""
    different = {str(one): one for one in verdicts}.values()
    turns = [*(_listed_verdict(one, packet, None) for one in different), Turn(packet, Move.BREAK, "no match")]
    return [turn._replace(chance=None, doubts=(name,)) for turn in turns]


def _mangle(body: Any, dump: NftDump) -> Statement:
    """Another mark, address, port … for the packet."""
    match body["key"]:
        case {"meta": {"key": "mark"}}:
            set_to: Callable[[HookPacket, int], Sequence[Turn]] = lambda packet, mark: set_mark(packet, mark, "mark")  # noqa: E731
        case {"ct": {"key": "mark"}}:
            set_to = lambda packet, mark: continued(replace(packet, ct_mark=mark), f"ct mark {mark:#x}")  # noqa: E731
        case {"payload": {"protocol": str(), "field": str(name)}} if name in _CHANGED:
            own = _CHANGED[name]
            set_to = lambda packet, new: continued(own(packet, new), f"{name} {new}")  # noqa: E731
        case {"meta": _} | {"ct": _} | {"tcp option": _} | {"payload": _}:
            return lambda packet, _at: continued(packet, "")
        case _:
            raise ValueError("mangle")
    old, read = field(body["key"], dump.lookup), _new_value(body, dump)

    def change(packet: HookPacket, at: At) -> Sequence[Turn]:
        value = read(packet, at)
        if value is None or old.read(packet, at) is None:
            return [Turn(packet, Move.BREAK, "")]
        turns: list[Turn] = []
        for chance, one in value.values if isinstance(value, Drawn) else ((ONE, value),):
            if not isinstance(one, int) or not 0 <= one <= 0xFFFFFFFF:
                return unknown(packet, f"its new value: {one.name if isinstance(one, Unclear) else str(one)[:40]}")
            turns += [turn._replace(chance=chance) for turn in set_to(packet, one)]
        return turns

    return change


def _new_value(body: Mapping[str, Any], dump: NftDump) -> ValueReader:
    """The value that a field gets: a constant is read as the field's are."""
    own, value = field(body["key"], dump.lookup), body["value"]
    if isinstance(value, int | str | list) and isinstance(own.kind, str):
        new = KINDS[own.kind](value)
        return lambda _packet, _at: new
    return field(value, dump.lookup).read


_CHANGED: Final[dict[str, Callable[[HookPacket, int], HookPacket]]] = {
    "saddr": lambda packet, new: replace(packet, source=IPv4Address(new)),
    "daddr": lambda packet, new: replace(packet, destination=IPv4Address(new)),
    "sport": lambda packet, new: replace(packet, source_port=new & 0xFFFF),
    "dport": lambda packet, new: replace(packet, destination_port=new & 0xFFFF),
    "ttl": lambda packet, new: replace(packet, ttl=new & 0xFF),
    "dscp": lambda packet, new: replace(packet, tos=(new & 63) << 2 | packet.tos & 3),
}
