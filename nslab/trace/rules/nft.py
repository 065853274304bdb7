"""Chains of nft, whose rules are read when a packet first meets them (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.ruletext.comments import in_words
from nslab.trace.rules.nat import unknown
from nslab.trace.rules.nft_statements import match, statement
from nslab.trace.rules.nft_text import rule_text
from nslab.trace.rules.turn import ONE, Move, Turn, doubt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.trace.rules.nft_dump import NftDump
    from nslab.trace.rules.nft_statements import Statement
    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import Answer, At, Match


class NftRules:
    """A chain as the walk sees it."""

    def __init__(self, dump: NftDump, name: str, siblings: dict[str, NftRules]) -> None:
        body, self._listed = dump.chains[name]
        self.table, self.name = f"{dump.family} {dump.name}", name
        self.policy = str(body.get("policy", "accept" if "hook" in body else "")).upper()
        self._dump, self._siblings = dump, siblings
        self._rules: dict[int, NftRule] = {}

    def after(self, position: int, _packet: HookPacket) -> int:
        """The first position, from this on, of a rule that may match; -1 if there is none."""
        return position if position < len(self._listed) else -1

    def rule(self, position: int) -> NftRule:
        """The rule at a position, counted from 0."""
        found = self._rules.get(position)
        if found is None:
            found = self._rules[position] = NftRule(position + 1, self._listed[position], self._dump)
        return found

    def other(self, name: str) -> NftRules | None:
        """A chain of the same table, or None."""
        if name not in self._siblings and name in self._dump.chains:
            self._siblings[name] = NftRules(self._dump, name, self._siblings)
        return self._siblings.get(name)


class NftRule:
    """A rule as the walk sees it. A statement that it does not understand is a doubt."""

    def __init__(self, number: int, listed: dict[str, Any], dump: NftDump) -> None:
        self.number, self.comment = number, in_words(str(listed.get("comment", "")))
        self.text = str(listed.get("text", "")) or rule_text(listed["expr"])
        self._statements = [part for one in listed["expr"] for part in _understood(one, dump)]

    def turns(self, packet: HookPacket, at: At) -> Sequence[Turn]:
        """All ways on; none if the rule does not match."""
        live, failed, done = [Turn(packet, Move.CONTINUE, "")], list[Turn](), list[Turn]()
        for asks, acts in self._statements:
            going: list[Turn] = []
            for turn in live:
                if asks:
                    _split(turn, asks(turn.packet, at), going, failed)
                for new in acts(turn.packet, at) if acts else ():
                    {Move.CONTINUE: going, Move.BREAK: failed}.get(new.action, done).append(_after(turn, new))
            live = going
            if not live:
                break
        if not live and not done and all(turn.packet is packet and not turn.doubts for turn in failed):
            return ()
        passed = [*done, *(turn._replace(result=turn.result or "matched") for turn in live)]
        if not done and all(turn.packet == packet for turn in (*live, *failed)) and any(turn.doubts for turn in passed):
            return [passed[0]._replace(chance=ONE)]  # whether it matched changes nothing
        return [*passed, *(_missed(turn) for turn in _merged(failed))]


def _understood(one: Any, dump: NftDump) -> list[tuple[Match | None, Statement | None]]:
    """A statement as what it asks, as what it does, or both in this order."""
    try:
        asks = match(one, dump)
        acts = None if asks and "set" not in one else statement(one, dump)
        return [(asks, None)] * bool(asks) + [(None, acts)] * bool(acts)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        kind = str(next(iter(one), "")) if isinstance(one, dict) else "statement"
        name = kind if str(error) == kind else f"{kind}: {error}"[:80]
        if isinstance(one, dict) and one.keys() <= {"match"}:
            return [(doubt(name), None)]
        return [(None, lambda packet, _at: [*unknown(packet, name), _going_on(packet, name)])]


def _going_on(packet: HookPacket, name: str) -> Turn:
    return Turn(packet, Move.CONTINUE, "not known", chance=None, doubts=(name,))


def _split(turn: Turn, answer: Answer, going: list[Turn], failed: list[Turn]) -> None:
    if isinstance(answer, str):
        unsure = turn._replace(chance=None, doubts=(*turn.doubts, answer))
        going.append(unsure)
        failed.append(unsure)
    elif answer is True or answer is False:
        (going if answer else failed).append(turn)
    else:
        going.append(turn._replace(chance=turn.chance and turn.chance * answer))
        failed.append(turn._replace(chance=turn.chance and turn.chance * (1 - answer)))


def _after(turn: Turn, new: Turn) -> Turn:
    """A statement's turn, after what the statements before it did."""
    chance = None if turn.chance is None or new.chance is None else turn.chance * new.chance
    result = ", ".join(filter(None, (turn.result, new.result)))
    return new._replace(chance=chance, result=result, doubts=(*turn.doubts, *new.doubts))


def _missed(turn: Turn) -> Turn:
    return turn._replace(action=Move.CONTINUE, result="no match" if turn.doubts else "")


def _merged(failed: Sequence[Turn]) -> list[Turn]:
    """Those that failed with the same packet are one."""
    found: list[Turn] = []
    for turn in failed:
        if turn.chance == 0:
            continue
        last = found[-1] if found else None
        if last and last.packet == turn.packet and last.chance is not None and turn.chance is not None:
            found[-1] = last._replace(chance=last.chance + turn.chance)
        else:
            found.append(turn)
    return found
