"""A rule in nft's spelling, as Felix writes it: its matches, a counter, its verdict; and its hash in the comment."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from nslab.policy.names import base64url
from nslab.policy.rule import LAYER, TRANSPORT, safe_comment

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.policy.rule import FelixRule
    from nslab.ruletext.items import Body

LONGEST_COMMENT = 128
NO_OP = "continue"
_NUMBERS = {"6": "tcp", "17": "udp"}


def nft_signed(table: str, chain: str, rules: Iterable[FelixRule]) -> Body:
    """The rules of a chain, each with its hash. `table`: that of iptables whose place the chain has."""
    digest, lines = hashlib.sha224(chain.encode()).digest(), []
    for rule in rules:
        text = nft_text(rule).replace(LAYER, table)
        digest = hashlib.sha224(digest + text.encode()).digest()
        words = f"cali:{base64url(digest[:12])};", safe_comment(rule.comment)
        comment = " ".join(word for word in words if word)[:LONGEST_COMMENT]
        lines.append(f'{text} comment "{comment}"')
    return tuple(lines)


def nft_text(rule: FelixRule) -> str:
    """The rule without its comment."""
    matches = [part.nft for part in rule.matches]
    protocol = next((text.split()[-1] for text in matches if text.startswith("meta l4proto ")), "")
    target = ["counter", rule.target.nft] if rule.target else []
    text = " ".join([*matches, *target]) or NO_OP
    return text.replace(TRANSPORT, _NUMBERS.get(protocol, protocol))
