"""Rules, chains, tables and sets of nf_tables as they change: also those of iptables-nft.

The kernel tells a rule's number. Its text is read from its owner's program, before and after the change.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from nslab.linux.netlink import netfilter
from nslab.linux.observe.place import is_safe_to_ask
from nslab.linux.tracing.rule_texts import texts
from nslab.trace.lab_events.rules import RuleChange, rule_events
from nslab.trace.lab_events.values import EventAction, EventKind, LabEvent
from nslab.wire import nftables
from nslab.wire.netlink import attributes, each_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.linux.netlink.listener import Notification
    from nslab.linux.netns import Namespaces
    from nslab.linux.tracing.rule_texts import Texts
    from nslab.trace.lab_events.names import EventNames

_SUBSYSTEM = 10
_NEW_TABLE, _DEL_TABLE, _NEW_CHAIN, _DEL_CHAIN, _NEW_RULE, _DEL_RULE = 0, 2, 3, 5, 6, 8
_NEW_SET, _DEL_SET, _NEW_ELEMENTS, _DEL_ELEMENTS = 9, 11, 12, 14
_OWN = "nslab-trace-"
"""Tables of `nslab trace`, which are gone when it ends."""


class NftEvents:
    """Knows the rules' texts of namespaces."""

    def __init__(self, spaces: Namespaces) -> None:
        self._spaces = spaces
        self._texts: dict[str, Texts] = {}

    def learn(self, ns: str) -> None:
        """Read the rules that are there. OSError (ENOENT) if the namespace is gone."""
        self._spaces.enter(ns)
        try:
            if not is_safe_to_ask("nf_tables"):
                return
            tables = netfilter.tables()
            self._texts[ns] = texts(ns, netfilter.rules(), tables) if tables else {}
        finally:
            self._spaces.home()

    def forget(self, ns: str) -> None:
        """A namespace is gone."""
        self._texts.pop(ns, None)

    def events(self, ns: str, host: str, told: Sequence[Notification], names: EventNames) -> Iterator[LabEvent]:
        """The events of the messages of one namespace that came together."""
        before = self._texts.get(ns, {})
        with suppress(OSError):
            self.learn(ns)
        after = self._texts.get(ns, {})
        at = told[0].at
        yield from _containers(at, host, told, names)
        yield from rule_events(at, host, _changed_rules(told, before, after), names.services)


def _kind(one: Notification) -> int:
    return one.kind & 0xFF if one.kind >> 8 == _SUBSYSTEM else -1


def _changed_rules(told: Iterable[Notification], before: Texts, after: Texts) -> Iterator[RuleChange]:
    for one in told:
        if _kind(one) in (_NEW_RULE, _DEL_RULE):
            rule, added = nftables.rule(one.body), _kind(one) == _NEW_RULE
            place = rule.table, rule.handle
            text = (after.get(place) or before.get(place, "")) if added else before.get(place, "")
            if not rule.table.startswith(_OWN):
                yield RuleChange(rule.table, rule.chain, text, added)


def _containers(at: int, host: str, told: Iterable[Notification], names: EventNames) -> Iterator[LabEvent]:
    """Tables, chains and sets, and how many elements of sets changed."""
    balance: Counter[tuple[str, str]] = Counter()
    elements: Counter[tuple[str, str, EventAction]] = Counter()
    for one in told:
        found = attributes(one.body, 4)
        table, second, third = (_text(found.get(kind)) for kind in (1, 2, 3))
        if table.startswith(_OWN):
            continue
        match _kind(one):
            case 0 | 2 as kind:
                balance["table", table] += 1 if kind == _NEW_TABLE else -1
            case 3 | 5 as kind:
                balance["chain", f"{table} {third}"] += 1 if kind == _NEW_CHAIN else -1
            case 9 | 11 as kind:
                balance["set", f"{table} {second}"] += 1 if kind == _NEW_SET else -1
            case 12:
                elements[table, second, EventAction.ADDED] += _count(found.get(3, b""))
            case 14:
                elements[table, second, EventAction.REMOVED] += _count(found.get(3, b""))
    for (what, name), number in balance.items():
        if number:
            action = EventAction.ADDED if number > 0 else EventAction.REMOVED
            service = names.services.of_chain(name.partition(" ")[2])
            text = f"{what} {name}{f' ({service})' if service else ''}"
            yield LabEvent(at, host, EventKind.RULE, action, text, {what: name, "service": service})
    for (table, name, action), number in elements.items():
        text = f"{number} element{'s' * (number != 1)} of {table} {name}"
        yield LabEvent(at, host, EventKind.RULE, action, text, {"table": table, "set": name, "elements": number})


def _text(value: bytes | None) -> str:
    return (value or b"").rstrip(b"\0").decode(errors="replace")


def _count(nested: bytes) -> int:
    """How many attributes stand in a nested one."""
    return sum(1 for _ in each_attribute(nested))
