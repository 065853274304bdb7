"""A packet's walk through all chains of one hook: every outcome, with its chance and the rules that matched (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from nslab.trace.rules.packet import ICMP, HookOutcome, Step, Verdict
from nslab.trace.rules.turn import ONE, At, Move

if TYPE_CHECKING:
    from collections.abc import Sequence
    from fractions import Fraction

    from nslab.trace.rules.packet import Addresses, HookPacket
    from nslab.trace.rules.ruleset import HookChain, NodeRules
    from nslab.trace.rules.turn import Rule, RuleChain, Turn

VISITS, BRANCHES = 200_000, 4_096
"""The maximum number of rules that one packet is shown to, and of its branches: a stranger's jumps may double both."""

_Steps: TypeAlias = "tuple[_Steps, Step] | None"
_Frames: TypeAlias = "tuple[_Frames, RuleChain, int] | None"


class _Path(NamedTuple):
    """One branch of the walk: in the chain at `position`, within the base chain number `base` of the hook."""

    packet: HookPacket
    chance: Fraction | None
    steps: _Steps
    doubts: tuple[str, ...]
    base: int
    bound: bool
    chain: RuleChain | None = None
    position: int = 0
    frames: _Frames = None


def evaluate(ruleset: NodeRules, packet: HookPacket, hook: str, addresses: Addresses) -> tuple[HookOutcome, ...]:
    """What may become of the packet at a hook, as iptables spells it (PREROUTING …); the chances add up to one."""
    walk = _Walk(ruleset.hook(hook), hook, addresses)
    todo = [_Path(packet, ONE, None, (), 0, False)]
    while todo:
        path = todo.pop()
        if walk.visits > VISITS or len(todo) + len(walk.outcomes) > BRANCHES:
            much = f"more than {VISITS if walk.visits > VISITS else BRANCHES} "
            return (*walk.outcomes, _unfinished(path, much + ("rules" if walk.visits > VISITS else "branches")))
        todo += reversed(walk.on(path))
    return tuple(walk.outcomes)


def _unfinished(path: _Path, why: str) -> HookOutcome:
    return HookOutcome(Verdict.UNKNOWN, path.packet, None, _listed(path.steps), (*path.doubts, why))


class _Walk:
    """The chains of one hook, and the outcomes so far."""

    def __init__(self, bases: Sequence[HookChain], hook: str, addresses: Addresses) -> None:
        self._bases = bases
        self._at = [At(hook, base.tracked, addresses) for base in bases]
        self.outcomes: list[HookOutcome] = []
        self.visits = 0

    def on(self, path: _Path) -> list[_Path]:
        """The branches that go on from a path's next rule that matches."""
        if path.chain is None:
            return self._enter(path)
        chain, packet, at = path.chain, path.packet, self._at[path.base]
        position = chain.after(path.position, packet)
        while position >= 0:
            self.visits += 1
            rule = chain.rule(position)
            if turns := rule.turns(packet, at):
                here = path._replace(position=position)
                return [on for turn in turns if (on := self._turned(here, rule, turn))]
            position = chain.after(position + 1, packet)
        return self._returned(path)

    def _enter(self, path: _Path) -> list[_Path]:
        """At the next base chain of the hook; the nat chains see nothing but the first packet of a connection."""
        for number in range(path.base, len(self._bases)):
            base = self._bases[number]
            if base.takes(path.packet) and not (base.nat and (path.bound or not _has_no_nat(path.packet))):
                return [path._replace(base=number, chain=base.chain, position=0, frames=None)]
        self._end(path, Verdict.ACCEPT)
        return []

    def _turned(self, path: _Path, rule: Rule, turn: Turn) -> _Path | None:
        assert path.chain is not None
        chain, steps = path.chain, path.steps
        if turn.result:
            step = Step(chain.table, chain.name, rule.number, rule.text, rule.comment, turn.result, turn.doubts)
            steps = (steps, step)
        chance = path.chance * turn.chance if path.chance is not None and turn.chance is not None else None
        doubts = path.doubts + turn.doubts if turn.doubts else path.doubts
        path = path._replace(packet=turn.packet, chance=chance, steps=steps, doubts=doubts, position=path.position + 1)
        match turn.action:
            case Move.CONTINUE:
                return path
            case Move.JUMP | Move.GOTO:
                frames = path.frames if turn.action is Move.GOTO else (path.frames, chain, path.position)
                if other := chain.other(turn.to):
                    return path._replace(chain=other, position=0, frames=frames)
                path = path._replace(chance=None, doubts=(*path.doubts, f"chain {turn.to[:60]}"))
            case Move.RETURN:
                return next(iter(self._returned(path)), None)
            case Move.BIND:
                return path._replace(base=path.base + 1, bound=True, chain=None)
        if turn.verdict is Verdict.ACCEPT:
            return path._replace(base=path.base + 1, chain=None)
        self._end(path, turn.verdict or Verdict.UNKNOWN, turn.reject)
        return None

    def _returned(self, path: _Path) -> list[_Path]:
        """Back to the rule after the last jump; without one, to the base chain's policy."""
        if path.frames:
            frames, chain, position = path.frames
            return [path._replace(frames=frames, chain=chain, position=position)]
        chain = self._bases[path.base].chain
        policy = Step(chain.table, chain.name, 0, f"policy {chain.policy}", "", chain.policy)
        path = path._replace(steps=(path.steps, policy), base=path.base + 1, chain=None)
        if chain.policy == Verdict.ACCEPT:
            return [path]
        self._end(path, Verdict.DROP)
        return []

    def _end(self, path: _Path, verdict: Verdict, reject: str = "") -> None:
        doubts = tuple(dict.fromkeys(path.doubts))
        self.outcomes.append(HookOutcome(verdict, path.packet, path.chance, _listed(path.steps), doubts, reject))


def _has_no_nat(packet: HookPacket) -> bool:
    """Whether its connection's NAT is still to be decided: conntrack translates all later packets by itself."""
    new = packet.state == "NEW" or (packet.state == "RELATED" and packet.protocol != ICMP)
    return new and not packet.reply


def _listed(steps: _Steps) -> tuple[Step, ...]:
    found = []
    while steps:
        steps, step = steps
        found.append(step)
    return tuple(reversed(found))
