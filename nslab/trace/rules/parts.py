"""A rule of iptables taken apart: the modules of its matches with their options, and its target with its own (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from nslab.ruletext.saved import words
from nslab.trace.rules.names import protocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class RuleOption(NamedTuple):
    """An option with its values; whether a `!` stands before it, or before its first value as in old versions."""

    name: str
    values: tuple[str, ...]
    negated: bool = False

    @property
    def value(self) -> str:
        """Its first value, or ""."""
        return self.values[0] if self.values else ""


class Parts(NamedTuple):
    """A rule. `modules`: those of `-m`, and "" for the options that need none; a protocol's own as if `-m` named it."""

    modules: list[tuple[str, list[RuleOption]]]
    comment: str
    target: str
    goto: bool
    options: list[RuleOption]


_COMMON = {
    "-s": "-s", "--source": "-s", "--src": "-s", "-d": "-d", "--destination": "-d", "--dst": "-d", "-p": "-p",
    "--protocol": "-p", "--proto": "-p", "-i": "-i", "--in-interface": "-i", "-o": "-o", "--out-interface": "-o",
    "-f": "-f", "--fragment": "-f",
}  # fmt: skip
_OF_PROTOCOL = {1: "icmp", 6: "tcp", 17: "udp", 33: "dccp", 132: "sctp", 136: "udplite"}


def parts(rule: str, matches: Mapping[str, Mapping[str, int]], targets: Mapping[str, Mapping[str, int]]) -> Parts:
    """The rule; `matches` and `targets` have the number of values of each known option. Raises ValueError."""
    found = Parts([("", [])], "", "", False, [])
    rest, negated = _Words(words(rule)), False
    for word in rest:
        if word == "!":
            negated = True
            continue
        if word in ("-m", "--match"):
            found.modules.append((rest.next(), []))
        elif word in ("-j", "--jump", "-g", "--goto"):
            found = found._replace(target=rest.next(), goto=word in ("-g", "--goto"))
        elif word in _COMMON and not found.target:
            found.modules[0][1].append(rest.option(_COMMON[word], 0 if _COMMON[word] == "-f" else 1, negated))
        elif word == "--comment" and not found.target:
            comment = rest.next()
            found = found._replace(comment=f"{found.comment} {comment}".lstrip())
        elif word in ("-c", "--set-counters"):
            rest.option(word, 2, False)
        elif found.target:
            found.options.append(rest.option(word, targets.get(found.target, {}).get(word), negated))
        else:
            _add(found.modules, word, matches, rest, negated)
        negated = False
    return found


def _add(
    modules: list[tuple[str, list[RuleOption]]],
    word: str,
    matches: Mapping[str, Mapping[str, int]],
    rest: _Words,
    negated: bool,
) -> None:
    """Give an option to the last module that knows it, else to that of the rule's protocol, else to the last one."""
    known = next((module for module in reversed(modules) if word in matches.get(module[0], {})), None)
    if known is None:
        own = _protocol_module(modules[0][1])
        known = (own, []) if word in matches.get(own, {}) else modules[-1]
        if known is not modules[-1]:
            modules.append(known)
    known[1].append(rest.option(word, matches.get(known[0], {}).get(word), negated))


def _protocol_module(common: list[RuleOption]) -> str:
    named = next((option.value for option in common if option.name == "-p"), "")
    try:
        return _OF_PROTOCOL.get(protocol(named), "")
    except ValueError:
        return ""


class _Words:
    """The words of a rule, read one by one."""

    def __init__(self, all_words: list[str]) -> None:
        self._words, self._position = all_words, 0

    def __iter__(self) -> Iterator[str]:
        while self._position < len(self._words):
            yield self.next()

    def next(self) -> str:
        if self._position >= len(self._words):
            raise ValueError(f"{self._words[-1]} without its value")
        self._position += 1
        return self._words[self._position - 1]

    def option(self, name: str, count: int | None, negated: bool) -> RuleOption:
        """An option with `count` values; None: all words until the next option."""
        if count and self._position < len(self._words) and self._words[self._position] == "!":
            self._position += 1
            negated = not negated
        if count is not None:
            return RuleOption(name, tuple(self.next() for _ in range(count)), negated)
        start = self._position
        while self._position < len(self._words) and self._words[self._position][:1] not in ("-", "!"):
            self._position += 1
        return RuleOption(name, tuple(self._words[start : self._position]), negated)
