"""What a rule answers for a packet, and where it sends it: the words between rules and the walk (pure)."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nslab.trace.rules.packet import Addresses, HookPacket, Verdict

ONE = Fraction(1)
Answer: TypeAlias = bool | Fraction | str
"""Of one match: yes, no, its chance if it draws lots, or the name of what is not understood."""


class At(NamedTuple):
    """Where a rule is asked: the hook, and whether conntrack has seen the packet there."""

    hook: str
    tracked: bool
    addresses: Addresses


Match: TypeAlias = "Callable[[HookPacket, At], Answer]"


class Move(Enum):
    """What the walk does after a rule. BIND: the connection has its NAT, so no other nat chain of the hook is asked.

    BREAK, of a statement in a rule of nft: on with the next rule.
    """

    CONTINUE = "continue"
    JUMP = "jump"
    GOTO = "goto"
    RETURN = "return"
    END = "end"
    BIND = "bind"
    BREAK = "break"


class Turn(NamedTuple):
    """One way on from a rule. `result` is "" if the rule did not match; `to`: the chain; `reject`: its message."""

    packet: HookPacket
    action: Move
    result: str
    to: str = ""
    verdict: Verdict | None = None
    reject: str = ""
    chance: Fraction | None = ONE
    doubts: tuple[str, ...] = ()


class Rule(Protocol):
    """A rule of any program."""

    number: int
    text: str
    comment: str

    def turns(self, packet: HookPacket, at: At) -> Sequence[Turn]:
        """All ways on; none if the rule does not match."""


class RuleChain(Protocol):
    """A chain of any program."""

    table: str
    name: str
    policy: str

    def after(self, position: int, packet: HookPacket) -> int:
        """The first position, from this on, of a rule that may match; -1 if there is none."""

    def rule(self, position: int) -> Rule:
        """The rule at a position, counted from 0."""

    def other(self, name: str) -> RuleChain | None:
        """A chain of the same table, or None."""


def combined(answers: Iterable[Answer]) -> tuple[Fraction, tuple[str, ...]]:
    """The chance that all matches agree, as far as they are understood, and what is not understood."""
    chance, doubts = ONE, list[str]()
    for answer in answers:
        if answer is False:
            return Fraction(0), ()
        if isinstance(answer, str):
            doubts.append(answer)
        elif answer is not True:
            chance *= answer
    return chance, tuple(doubts)


def weighed(matched: Sequence[Turn], packet: HookPacket, chance: Fraction, doubts: tuple[str, ...]) -> Sequence[Turn]:
    """The turns of a rule that matches with a chance, and the one on which it does not match."""
    if doubts:
        if all(turn.action is Move.CONTINUE and turn.packet == packet for turn in matched):
            return [turn._replace(doubts=doubts) for turn in matched]  # whether it matched changes nothing
        sure = [turn._replace(chance=None, doubts=(*doubts, *turn.doubts)) for turn in matched]
        return [*sure, Turn(packet, Move.CONTINUE, "no match", chance=None, doubts=doubts)]
    if chance == 1:
        return matched
    kept = [turn._replace(chance=turn.chance and turn.chance * chance) for turn in matched]
    return [*kept, Turn(packet, Move.CONTINUE, "", chance=1 - chance)] if chance else ()


def negated(match: Match) -> Match:
    """The opposite answer; what is unknown stays so."""

    def opposite(packet: HookPacket, at: At) -> Answer:
        answer = match(packet, at)
        if isinstance(answer, str):
            return answer
        return not answer if isinstance(answer, bool) else 1 - answer

    return opposite


def doubt(name: str) -> Match:
    """A match that is not understood."""
    return lambda _packet, _at: name


def always(_packet: HookPacket, _at: At) -> Answer:
    """A match that every packet passes."""
    return True


def signed(negate: bool, match: Match) -> Match:
    """The match, or the opposite of it."""
    return negated(match) if negate else match


def all_of(matches: Iterable[Match], packet: HookPacket, at: At) -> Answer:
    """No if one match says no, else what one does not know, else yes."""
    answers = [match(packet, at) for match in matches]
    return False if False in answers else next((answer for answer in answers if answer is not True), True)
