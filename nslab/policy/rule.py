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

LONGEST_COMMENT, KEPT = 256, 255
"""Characters of a comment: as many as Felix writes, and as many as Linux keeps."""
_UNSAFE = re.compile(r"[^A-Za-z0-9_ @%+=:,./-]")
_SOURCE, _DESTINATION, _IN, _OUT, _PROTOCOL, _MODULE = range(6)
"""The order in which iptables-save prints matches; modules stay in their own order."""
_NUMBERS = {"4": "ipencap", "17": "udp"}
LAYER, TRANSPORT = "<LAYER>", "<TRANSPORT>"
"""In `RulePart.nft`: the table of iptables whose place a chain has; the rule's protocol, which has ports."""
_NFT_ENDS = {"src": "ip saddr", "dst": "ip daddr", "dst,dst": "ip daddr . meta l4proto . th dport"}
_NFT_TARGETS = {
    "ACCEPT": "accept", "DROP": "drop", "RETURN": "return", "MASQUERADE --random-fully": "masquerade fully-random",
}  # fmt: skip
_ALL = 0xFFFFFFFF


class RulePart(NamedTuple):
    """One match, or a rule's target: as Felix writes it, as iptables-save prints it, and in which place that does.

    `nft`: as Felix writes it for nft (see nslab.policy.nft_rule).
    """

    felix: str
    saved: str
    place: int = _MODULE
    nft: str = ""


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


def safe_comment(text: str) -> str:
    """A comment that a rule may have."""
    return _UNSAFE.sub("_", text)[:LONGEST_COMMENT]


@lru_cache(maxsize=1024)
def _spelt(rule: FelixRule) -> tuple[bytes, str, str]:
    """What of a rule is hashed; what iptables-save prints of it before the hash, and after.

    The chains of pods have most rules in common, and a node may have a thousand such chains.
    """
    comment = safe_comment(rule.comment)
    said = [_commented(comment)] if comment else []
    kept = [_commented(comment[:KEPT])] if comment else []
    target = [rule.target] if rule.target else []
    text = " ".join([*said, *(part.felix for part in (*rule.matches, *target))])
    first = sorted((part for part in rule.matches if part.place < _MODULE and part.saved), key=lambda part: part.place)
    then = [part for part in rule.matches if part.place == _MODULE]
    after = [*kept, *(part.saved for part in (*then, *target))]
    return text.encode(), "".join(f"{part.saved} " for part in first), "".join(f" {word}" for word in after)


def _commented(text: str) -> str:
    return f'-m comment --comment "{text}"'


def _same(text: str, nft: str) -> RulePart:
    return RulePart(text, text, nft=nft)


def nft_set(name: str) -> str:
    """The name of a set in nft."""
    return name.replace(":", "-")


def _wildcard(interface: str) -> str:
    return interface.replace("+", "*")


def source(network: str) -> RulePart:
    """The packet's source."""
    saved = "" if network == "0.0.0.0/0" else f"-s {network}"
    return RulePart(f"--source {network}", saved, _SOURCE, f"ip saddr {network}")


def destination(network: str) -> RulePart:
    """The packet's destination."""
    saved = "" if network == "0.0.0.0/0" else f"-d {network}"
    return RulePart(f"--destination {network}", saved, _DESTINATION, f"ip daddr {network}")


def came_by(interface: str) -> RulePart:
    """The interface by which it came."""
    return RulePart(f"--in-interface {interface}", f"-i {interface}", _IN, f"iifname {_wildcard(interface)}")


def leaves_by(interface: str) -> RulePart:
    """The interface by which it leaves."""
    return RulePart(f"--out-interface {interface}", f"-o {interface}", _OUT, f"oifname {_wildcard(interface)}")


def protocol(word: str) -> RulePart:
    """The protocol, by its name in small letters or by its number."""
    return RulePart(f"-p {word}", f"-p {_NUMBERS.get(word, word)}", _PROTOCOL, f"meta l4proto {word}")


def ports(text: str) -> RulePart:
    """Ports of the destination, as `80,443,8000:8080`."""
    listed = text.replace(",", ", ").replace(":", "-")
    return RulePart(
        f"-m multiport --destination-ports {text}",
        f"-m multiport --dports {text}",
        nft=f"{TRANSPORT} dport {{ {listed} }}",
    )


def in_set(name: str, ends: str) -> RulePart:
    """Membership in a set; `ends`: src or dst for each of its dimensions."""
    return _same(f"-m set --match-set {name} {ends}", f"{_NFT_ENDS[ends]} @{nft_set(name)}")


def not_in_set(name: str, ends: str) -> RulePart:
    """The opposite of `in_set`."""
    return _same(f"-m set ! --match-set {name} {ends}", f"{_NFT_ENDS[ends]} != @{nft_set(name)}")


def state(words: str) -> RulePart:
    """The state of its connection."""
    asked = "status" if words == "DNAT" else "state"
    return _same(f"-m conntrack --ctstate {words}", f"ct {asked} {words.lower()}")


def has(bits: int) -> RulePart:
    """All these bits of the mark are set."""
    return _same(f"-m mark --mark {bits:#x}/{bits:#x}", f"meta mark & {bits:#x} == {bits:#x}")


def lacks(bits: int) -> RulePart:
    """None of these bits of the mark is set."""
    return match(f"-m mark --mark 0/{bits:#x}", f"-m mark --mark 0x0/{bits:#x}", f"meta mark & {bits:#x} == 0")


def has_any(bits: int) -> RulePart:
    """One of these bits of the mark is set."""
    return match(f"-m mark ! --mark 0/{bits:#x}", f"-m mark ! --mark 0x0/{bits:#x}", f"meta mark & {bits:#x} != 0")


def has_value(value: int, mask: int, *, inverted: bool = False) -> RulePart:
    """The bits of a mask have a value, or (`inverted`) another one."""
    negated, compared = ("! ", "!=") if inverted else ("", "==")
    return _same(f"-m mark {negated}--mark {value:#x}/{mask:#x}", f"meta mark & {mask:#x} {compared} {value:#x}")


def match(text: str, saved: str, nft: str) -> RulePart:
    """Any other match."""
    return RulePart(text, saved, nft=nft)


def jump(target: str) -> RulePart:
    """On to a target, or to a chain and back."""
    return match(f"--jump {target}", f"-j {target}", _NFT_TARGETS.get(target, f"jump {LAYER}-{target}"))


def goto(chain: str) -> RulePart:
    """On to a chain, from which the packet returns to where this chain was called."""
    return match(f"--goto {chain}", f"-g {chain}", f"goto {LAYER}-{chain}")


def set_bits(bits: int) -> RulePart:
    """Sets bits of the mark."""
    nft = f"meta mark set mark or {bits:#x}"
    return match(f"--jump MARK --set-mark {bits:#x}/{bits:#x}", f"-j MARK --set-xmark {bits:#x}/{bits:#x}", nft)


def clear_bits(bits: int) -> RulePart:
    """Clears bits of the mark."""
    nft = f"meta mark set mark & {bits ^ _ALL:#x}"
    return match(f"--jump MARK --set-mark 0/{bits:#x}", f"-j MARK --set-xmark 0x0/{bits:#x}", nft)


def put_bits(value: int, mask: int) -> RulePart:
    """Gives the bits of a mask a value."""
    nft = f"meta mark set mark & {mask ^ _ALL:#x} ^ {value:#x}"
    return match(f"--jump MARK --set-mark {value:#x}/{mask:#x}", f"-j MARK --set-xmark {value:#x}/{mask:#x}", nft)


ACCEPT, DROP, RETURN = map(jump, ("ACCEPT", "DROP", "RETURN"))
