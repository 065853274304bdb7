"""A rule in two spellings: Felix's, which it hashes, and iptables-save's, in which rules are compared.

Felix signs each rule with a comment: `cali:` and 16 characters of a hash over the chain's name and every rule up to
this one, so that it finds the first changed rule at once.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from nslab.policy.names import base64url

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.ruletext.items import Body

LONGEST_COMMENT = 256
_UNSAFE = re.compile(r"[^A-Za-z0-9_ @%+=:,./-]")
_SOURCE, _DESTINATION, _IN, _OUT, _PROTOCOL, _MODULE = range(6)
"""The order in which iptables-save prints matches; modules stay in their own order."""
_NUMBERS = {"4": "ipencap", "17": "udp"}


class RulePart(NamedTuple):
    """One match, or a rule's target: as Felix writes it, as iptables-save prints it, and in which place that does."""

    felix: str
    saved: str
    place: int = _MODULE


class FelixRule(NamedTuple):
    """A rule: its matches, its target (None: it only counts), and its comment, "" for none."""

    matches: tuple[RulePart, ...] = ()
    target: RulePart | None = None
    comment: str = ""


def signed(chain: str, rules: Iterable[FelixRule]) -> Body:
    """The rules of a chain as iptables-save prints them, without `-A CHAIN`, each with its hash."""
    digest, start, lines = hashlib.sha224(chain.encode()).digest(), f"-A {chain} HASH ".encode(), []
    for rule in rules:
        text, before, after = _spelt(rule)
        digest = hashlib.sha224(digest + start + text).digest()
        # 12 bytes are 16 characters.
        lines.append(f'{before}-m comment --comment "cali:{base64url(digest[:12])}"{after}')
    return tuple(lines)


@lru_cache(maxsize=1024)
def _spelt(rule: FelixRule) -> tuple[bytes, str, str]:
    """What of a rule is hashed; what iptables-save prints of it before the hash, and after.

    The chains of pods have most rules in common, and a node may have a thousand such chains.
    """
    comment = _UNSAFE.sub("_", rule.comment)[:LONGEST_COMMENT]
    said = [f'-m comment --comment "{comment}"'] if comment else []
    target = [rule.target] if rule.target else []
    text = " ".join([*said, *(part.felix for part in (*rule.matches, *target))])
    first = sorted((part for part in rule.matches if part.place < _MODULE and part.saved), key=lambda part: part.place)
    then = [part for part in rule.matches if part.place == _MODULE]
    after = [*said, *(part.saved for part in (*then, *target))]
    return text.encode(), "".join(f"{part.saved} " for part in first), "".join(f" {word}" for word in after)


def _same(text: str) -> RulePart:
    return RulePart(text, text)


def source(network: str) -> RulePart:
    """The packet's source."""
    return RulePart(f"--source {network}", "" if network == "0.0.0.0/0" else f"-s {network}", _SOURCE)


def destination(network: str) -> RulePart:
    """The packet's destination."""
    return RulePart(f"--destination {network}", "" if network == "0.0.0.0/0" else f"-d {network}", _DESTINATION)


def came_by(interface: str) -> RulePart:
    """The interface by which it came."""
    return RulePart(f"--in-interface {interface}", f"-i {interface}", _IN)


def leaves_by(interface: str) -> RulePart:
    """The interface by which it leaves."""
    return RulePart(f"--out-interface {interface}", f"-o {interface}", _OUT)


def protocol(word: str) -> RulePart:
    """The protocol, by its name in small letters or by its number."""
    return RulePart(f"-p {word}", f"-p {_NUMBERS.get(word, word)}", _PROTOCOL)


def ports(text: str) -> RulePart:
    """Ports of the destination, as `80,443,8000:8080`."""
    return RulePart(f"-m multiport --destination-ports {text}", f"-m multiport --dports {text}")


def in_set(name: str, ends: str) -> RulePart:
    """Membership in a set; `ends`: src or dst for each of its dimensions."""
    return _same(f"-m set --match-set {name} {ends}")


def not_in_set(name: str, ends: str) -> RulePart:
    """The opposite of `in_set`."""
    return _same(f"-m set ! --match-set {name} {ends}")


def state(words: str) -> RulePart:
    """The state of its connection."""
    return _same(f"-m conntrack --ctstate {words}")


def has(bits: int) -> RulePart:
    """All these bits of the mark are set."""
    return _same(f"-m mark --mark {bits:#x}/{bits:#x}")


def lacks(bits: int) -> RulePart:
    """None of these bits of the mark is set."""
    return RulePart(f"-m mark --mark 0/{bits:#x}", f"-m mark --mark 0x0/{bits:#x}")


def has_any(bits: int) -> RulePart:
    """One of these bits of the mark is set."""
    return RulePart(f"-m mark ! --mark 0/{bits:#x}", f"-m mark ! --mark 0x0/{bits:#x}")


def match(text: str, saved: str = "") -> RulePart:
    """Any other match."""
    return RulePart(text, saved or text)


def jump(target: str) -> RulePart:
    """On to a target, or to a chain and back."""
    return RulePart(f"--jump {target}", f"-j {target}")


def goto(chain: str) -> RulePart:
    """On to a chain, from which the packet returns to where this chain was called."""
    return RulePart(f"--goto {chain}", f"-g {chain}")


def set_bits(bits: int) -> RulePart:
    """Sets bits of the mark."""
    return RulePart(f"--jump MARK --set-mark {bits:#x}/{bits:#x}", f"-j MARK --set-xmark {bits:#x}/{bits:#x}")


def clear_bits(bits: int) -> RulePart:
    """Clears bits of the mark."""
    return RulePart(f"--jump MARK --set-mark 0/{bits:#x}", f"-j MARK --set-xmark 0x0/{bits:#x}")


def put_bits(value: int, mask: int) -> RulePart:
    """Gives the bits of a mask a value."""
    return RulePart(f"--jump MARK --set-mark {value:#x}/{mask:#x}", f"-j MARK --set-xmark {value:#x}/{mask:#x}")


ACCEPT, DROP, RETURN = map(jump, ("ACCEPT", "DROP", "RETURN"))
