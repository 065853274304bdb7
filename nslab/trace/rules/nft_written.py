"""A rule of nft as kube-proxy or Felix writes it, as the JSON that `nft -j` would list: a State has text (pure).

It knows their words and no more; all others are doubts.
"""

from __future__ import annotations

import re
from typing import Any, Final

_TOKEN: Final = re.compile(r'"[^"]*"|\S+')
_TWO_WORDS: Final = {
    ("ip", "saddr"), ("ip", "daddr"), ("ip", "protocol"), ("th", "sport"), ("th", "dport"), ("tcp", "dport"),
    ("udp", "dport"), ("sctp", "dport"),
}  # fmt: skip
_OPERATIONS: Final = {"and": "&", "or": "|", "xor": "^", "&": "&", "^": "^"}
_MARKS: Final = (
    ("mark", "set", "mark"), ("meta", "mark", "set", "meta", "mark"), ("meta", "mark", "set", "mark"),
)  # fmt: skip
_PLAIN: Final = ("accept", "drop", "return", "notrack", "counter", "continue")


def rule(text: str) -> dict[str, Any]:
    """A rule's statements and its comment; statements that are not understood are one that nobody knows."""
    reader = _RuleWords(_TOKEN.findall(text))
    statements: list[Any] = []
    comment = ""
    try:
        while reader.left:
            if reader.takes("comment"):
                comment = reader.next().strip('"')
            else:
                statements.append(_statement(reader))
    except ValueError:
        statements.append({"unread": text})
    return {"expr": statements, "comment": comment}


def element(text: str, verdict: str, comment: str) -> Any:
    """An element of a set, or of a map with its verdict."""
    parts = [_constant(part) for part in text.split(" . ")]
    key: Any = {"concat": parts} if len(parts) > 1 else parts[0]
    key = {"elem": {"val": key, "comment": comment}} if comment else key
    return [key, _verdict(verdict.split())] if verdict else key


def hook(text: str) -> dict[str, Any]:
    """What stands in the braces of a base chain, `type KIND hook HOOK priority NUMBER ;`; empty for another chain."""
    words = text.split()
    if words[:1] != ["type"] or len(words) < 6:
        return {}
    policy = words[words.index("policy") + 1] if "policy" in words else "accept"
    return {"type": words[1], "hook": words[3], "prio": int(words[5]), "policy": policy}


class _RuleWords:
    """The words of a rule, read one by one."""

    def __init__(self, words: list[str]) -> None:
        self.left = words

    def next(self) -> str:
        if not self.left:
            raise ValueError("a word is missing")
        return self.left.pop(0)

    def takes(self, *words: str) -> bool:
        """Whether these words come next; then they are read."""
        there = tuple(self.left[: len(words)]) == words
        if there:
            del self.left[: len(words)]
        return there

    def braces(self) -> list[str]:
        """What stands between braces, parted by commas."""
        if not self.takes("{"):
            raise ValueError("no brace")
        inside: list[str] = []
        while not self.takes("}"):
            inside.append(self.next())
        return [part.strip() for part in " ".join(inside).split(",")]


def _statement(reader: _RuleWords) -> Any:
    word = reader.left[0]
    if word in _PLAIN:
        return {reader.next(): None}
    if word in ("jump", "goto"):
        return _verdict([reader.next(), reader.next()])
    if reader.takes("reject"):
        return {"reject": {"type": "icmp", "expr": "port-unreachable"}}
    if reader.takes("masquerade"):
        return {"masquerade": {"flags": "fully-random"} if reader.takes("fully-random") else None}
    if reader.takes("dnat", "to"):
        address, _, port = reader.next().partition(":")
        return {"dnat": {"addr": address, **({"port": int(port)} if port else {})}}
    if word in ("update", "add"):
        how, name = reader.next(), reader.next()
        (key,) = reader.braces()
        return {"set": {"op": how, "elem": _expression(_RuleWords(key.split())), "set": name}}
    if any(reader.takes(*words) for words in _MARKS):
        mark: dict[str, Any] = {"meta": {"key": "mark"}}
        value = mark
        while value is mark or reader.left[:1] == ["^"]:
            value = {_OPERATIONS[_known(reader.next())]: [value, int(reader.next(), 0)]}
        return {"mangle": {"key": mark, "value": value}}
    return _match(reader)


def _known(operation: str) -> str:
    if operation not in _OPERATIONS:
        raise ValueError(operation)
    return operation


def _match(reader: _RuleWords) -> Any:
    left = _expression(reader)
    if reader.takes("vmap"):
        if reader.left[:1] != ["{"]:
            return {"vmap": {"key": left, "data": reader.next()}}
        pairs = (part.split(" : ") for part in reader.braces())
        return {"vmap": {"key": left, "data": {"set": [[_constant(key), _verdict(to.split())] for key, to in pairs]}}}
    if reader.takes("and") or reader.takes("&"):
        left = {"&": [left, int(reader.next(), 0)]}
    op = "!=" if reader.takes("!=") else "==" if reader.takes("==") or "ct" not in left else "in"
    if reader.left[:1] == ["{"]:
        right: Any = {"set": [_constant(part) for part in reader.braces()]}
    else:
        words = [_constant(word) for word in reader.next().split(",")]
        right = words if len(words) > 1 else words[0]
    return {"match": {"op": op, "left": left, "right": right}}


def _expression(reader: _RuleWords) -> dict[str, Any]:
    parts = [_field(reader)]
    while reader.takes("."):
        parts.append(_field(reader))
    return {"concat": parts} if len(parts) > 1 else parts[0]


def _field(reader: _RuleWords) -> dict[str, Any]:
    first = reader.next()
    if first == "mark":
        return {"meta": {"key": "mark"}}
    if first in ("meta", "ct"):
        return {first: {"key": reader.next()}}
    if first in ("iifname", "oifname"):
        return {"meta": {"key": first}}
    if first == "fib":
        flags = [reader.next()]
        while reader.takes("."):
            flags.append(reader.next())
        return {"fib": {"result": reader.next(), "flags": flags}}
    if first == "numgen" and reader.takes("random", "mod"):
        return {"numgen": {"mode": "random", "mod": int(reader.next()), "offset": 0}}
    second = reader.next()
    if (first, second) not in _TWO_WORDS:
        raise ValueError(f"{first} {second}")
    return {"payload": {"protocol": first, "field": second}}


def _constant(text: str) -> Any:
    base, found, length = text.partition("/")
    if found and not text.startswith("@"):
        return {"prefix": {"addr": base, "len": int(length)}}
    if not text[:1].isdecimal() or "." in text:
        return text.strip('"')
    first, found, last = text.partition("-")
    return {"range": [int(first), int(last)]} if found else int(text, 0)


def _verdict(words: list[str]) -> dict[str, Any]:
    match words:
        case ["jump" | "goto" as how, to]:
            return {how: {"target": to}}
        case [("accept" | "drop" | "return") as how]:
            return {how: None}
    raise ValueError(" ".join(words))
