"""The rules that a prediction went through, as a hop shows them: those of one base chain (pure)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nslab.ruletext.comments import comment_of, without_comment
from nslab.trace.observed import Match
from nslab.trace.translations import path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.trace.rules.packet import Step

_NAT = re.compile(r"(?:^|, )(?:DNAT|SNAT|MASQUERADE|REDIRECT|NETMAP)(?: |$)")
"""The result of a rule that translates."""


def translating(steps: Sequence[Step]) -> int:
    """The place of the rule that translated the packet; of the last one, if none says so."""
    places = [place for place, step in enumerate(steps) if step.number and _NAT.search(step.result)]
    return places[-1] if places else max(place for place, step in enumerate(steps) if step.number)


def chain_of(steps: Sequence[Step], last: int) -> tuple[tuple[Match, ...], str]:
    """The rules of the base chain in which the step at a place is, up to it, and the chains from that base chain on.

    A base chain ends with its policy (a step without a number), or where another table begins.
    """
    first = last
    while first and steps[first - 1].number and steps[first - 1].table == steps[last].table:
        first -= 1
    own = [step for step in steps[first : last + 1] if step.number]
    matches = tuple(_match(step) for step in own)
    return matches, path(table_of(steps[last]), steps[first].chain, matches)


def table_of(step: Step) -> str:
    """The name of a rule's table: an nft table's with its family, unless that is `ip`."""
    return step.table.removeprefix("ip ")


def _match(step: Step) -> Match:
    verdict, _, target = step.result.partition(" ")
    return Match(
        table_of(step),
        step.chain,
        verdict.lower(),
        target,
        without_comment(step.rule),
        comment_of(step.rule) or step.comment,
    )
