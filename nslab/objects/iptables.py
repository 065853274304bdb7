"""Chains and jumps, and the input of `iptables-restore`; iptables_saved reads the output of `iptables-save`.

A restore is one kernel transaction for each table. `--noflush` keeps the chains that it does not declare: it declares
(and so flushes) nslab's chains and fills them; the built-in chains, which others use too, gain and lose single rules.
"""

from __future__ import annotations

import errno
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

from nslab.dataclass import dataclass, replace
from nslab.objects.base import Add, KernelObject, Remove, Replace
from nslab.objects.compared_rules import compared
from nslab.objects.keys import Layer
from nslab.quote import fill, quote
from nslab.ruletext.iptables import TABLES, iptables_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.objects.base import Step, There, Unit
    from nslab.objects.keys import Key
    from nslab.ruletext.items import Item, Items

Table: TypeAlias = Literal["raw", "mangle", "nat", "filter"]

_RULE = re.compile(r'"((?:[^"\\]|\\.)*)"|[^\s"]+')
_ESCAPE = re.compile(r"\\(.)")
_ACTIVE = frozenset('$`"\\!')
_TARGETS = {"ACCEPT", "DROP", "RETURN", "MASQUERADE", "SNAT", "DNAT", "REDIRECT", "MARK", "REJECT", "NOTRACK", "CT"}
_NAMED = re.compile(r"(?:^|\s)(-[jg]|--match-set) (\S+)")
_OF_ONE_SERVICE = re.compile("KUBE-(SVC|SVL|EXT|FW|SEP)-")
_SERVICE = re.compile(r'--comment "(?:[^"]* )?([a-z0-9.-]+/[a-z0-9.-]+(?::[a-z0-9-]+)?)')


class InTable(KernelObject):
    """An object that a restore adds or removes."""

    __slots__ = ()

    table: Table

    unit: ClassVar[Unit] = "iptables"
    primitives: ClassVar[tuple[str, ...]] = ("iptables", "conntrack")

    @property
    @abstractmethod
    def body(self) -> tuple[str, ...]:
        """Its rules."""
        raise NotImplementedError

    @abstractmethod
    def item(self) -> tuple[Item, tuple[str, ...]]:
        """The object as an item of nslab.ruletext, with its rules."""
        raise NotImplementedError

    @abstractmethod
    def turn(self, step: Step) -> int:
        """Its position in a restore: 0 chains are filled, 1 jumps removed, 2 jumps added, 3 chains removed."""
        raise NotImplementedError

    @classmethod
    def typed(cls, steps: Iterable[Step]) -> list[str]:
        return typed(steps)

    @property
    def refers_to(self) -> Iterator[Key]:
        for rule in self.body:
            for how, name in _NAMED.findall(rule):
                if name not in _TARGETS:
                    yield ("IpSet", self.ns, name) if how == "--match-set" else ("Chain", self.ns, self.table, name)

    def error_adding(self, there: There) -> int:
        return 0 if all(there.get(key) for key in self.refers_to) else errno.ENOENT

    @property
    def sentence(self) -> str:
        return f"{self.host} translates by its {self.label}"


@dataclass(frozen=True, slots=True)
class Chain(InTable):
    """A user-defined chain with all its rules: `rules` as `iptables-save` writes them, without `-A CHAIN`."""

    table: Table
    name: str
    rules: tuple[str, ...]

    rank: ClassVar[int] = Layer.RULE
    named_by_rules: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("Chain", self.ns, self.table, self.name)

    @property
    def body(self) -> tuple[str, ...]:
        return self.rules

    def item(self) -> tuple[Item, tuple[str, ...]]:
        return ("chain", self.table, self.name), self.rules

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Chain)

    def lines(self, step: Step) -> list[str]:
        tool, name = fill("ip netns exec {} iptables -t {}", self.ns, self.table), quote(self.name)
        if isinstance(step, Remove):
            return [f"{tool} -F {name}", f"{tool} -X {name}"]
        filled = [f"{tool} -A {name} {for_shell(rule)}" for rule in self.rules]
        return [f"{tool} -{'N' if isinstance(step, Add) else 'F'} {name}", *filled]

    def turn(self, step: Step) -> int:
        return 3 if isinstance(step, Remove) else 0

    def in_use(self, there: There) -> bool:
        return bool(self.rules) or any(self.key in user.refers_to for user in there.objects())

    @property
    def label(self) -> str:
        return f"chain {self.name} (table {self.table}){self._service}"

    @property
    def listed(self) -> tuple[str, str]:
        return f"chains in table {self.table}", self.name

    def differing(self, old: KernelObject) -> str:
        if not isinstance(old, Chain) or {*old.rules} == {*self.rules}:
            return KernelObject.differing(self, old)
        return f"{self.host}'s {self.label} {compared(old.rules, self.rules)}{self.whose}"

    @property
    def _service(self) -> str:
        """The Service of one of kube-proxy's chains, by its rules' comments, which begin with NAMESPACE/NAME[:PORT]."""
        if not _OF_ONE_SERVICE.match(self.name):
            return ""
        named = (_SERVICE.search(rule) for rule in self.rules)
        return next((f" of Service {found[1]}" for found in named if found), "")


@dataclass(frozen=True, slots=True)
class Jump(InTable):
    """One rule in a built-in chain, first or last; nslab does not move the rules of others."""

    table: Table
    chain: str
    rule: str
    place: Literal["first", "last"] = "first"

    rank: ClassVar[int] = Layer.RULE + 1
    repeats: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("Jump", self.ns, self.table, self.chain, self.rule)

    @property
    def body(self) -> tuple[str, ...]:
        return (self.rule,)

    def item(self) -> tuple[Item, tuple[str, ...]]:
        return ("jump", self.table, self.chain, self.rule, self.place), ()

    def error_removing(self, there: There) -> int:
        return 0 if any(obj == self for obj in there.objects()) else errno.ENOENT

    @property
    def comes_first(self) -> bool:
        return self.place == "first"

    @property
    def inserted_into(self) -> Key:
        return (self.ns, self.table, self.chain) if self.place == "first" else ()

    def lines(self, step: Step) -> list[str]:
        tool = fill("ip netns exec {} iptables -t {}", self.ns, self.table)
        where = f"-I {self.chain} 1" if self.place == "first" else f"-A {self.chain}"
        verbs = [f"-D {self.chain}"] * (not isinstance(step, Add)) + [where] * (not isinstance(step, Remove))
        return [f"{tool} {for_shell(f'{verb} {self.rule}')}" for verb in verbs]

    def turn(self, step: Step) -> int:
        return 1 if isinstance(step, Remove) else 2

    @property
    def label(self) -> str:
        return f"rule in {self.chain} (table {self.table}): {self.rule}"

    def differing(self, _old: KernelObject) -> str:
        return f"{self.host}'s {self.label} moves to the top{self.whose}"

    @property
    def listed(self) -> tuple[str, str]:
        return f"rules in {self.table}'s built-in chains", f"{self.chain} {self.rule.rpartition('-j ')[2]}"


def for_shell(rule: str) -> str:
    """A rule of iptables-save, quoted for a shell. A quoted string is one word, with backslash escapes."""
    return " ".join(_word(found[1], found[0]) for found in _RULE.finditer(rule))


def _word(quoted: str | None, bare: str) -> str:
    if quoted is None:
        return bare if bare == "!" else quote(bare)
    text = _ESCAPE.sub(r"\1", quoted)
    # Double quotes are usual for comments, but a shell still expands some characters inside them.
    return f'"{text}"' if text.isprintable() and not _ACTIVE & {*text} else quote(text)


def typed(steps: Iterable[Step]) -> list[str]:
    """The commands for the steps of a restore, in an order that works when they run one by one.

    A rule then needs the chain that it jumps to, and only an empty chain without jumps to it can be deleted.
    """
    return [line for own in by_table(steps) for line in _typed(own)]


def _typed(steps: Iterable[Step]) -> list[str]:
    """The commands for the steps of one table."""
    declared: list[str] = []
    filled: list[str] = []
    jumps: list[str] = []
    emptied: list[str] = []
    gone: list[str] = []
    for step in steps:
        lines = step.obj.lines(step)
        if not isinstance(step.obj, Chain):
            jumps += lines
        elif isinstance(step, Remove):
            flush, delete = lines
            emptied.append(flush)
            gone.append(delete)
        else:
            first, *rest = lines
            declared.append(first)
            filled += rest
    return [*declared, *filled, *jumps, *emptied, *gone]


def iptables_restore(steps: Iterable[Step], block: int = 0) -> str:
    """Input for `iptables-restore --noflush`: all steps, a transaction of the kernel for each table.

    It declares chains first (which flushes them) and deletes chains last; within that, the order of `settled` stays.
    `block`: the maximum number of chains in one transaction, see nslab.ruletext.iptables.
    """
    old: Items = {}
    new: Items = {}
    moved: set[Item] = set()
    for step in settled(steps):
        assert isinstance(step.obj, InTable)
        item, body = step.obj.item()
        (old if isinstance(step, Remove) else new)[item] = body
        if isinstance(step, Replace) and step.obj.repeats:
            moved.add(item)
    return iptables_text(old, new, block, moved)


def settled(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps of a restore: the last step of each chain, and the steps of each jump that do not cancel out.

    A restore describes the table's final state, so a step and its inverse in one transaction cancel out. A jump that
    moves to the other end of its chain is two steps.
    """
    first: dict[Key, Step] = {}
    last: dict[Key, Step] = {}
    for step in steps:
        first.setdefault(step.obj.key, step)
        last[step.obj.key] = step
    kept: list[Step] = []
    for key, step in last.items():
        earlier = first[key]
        if isinstance(step.obj, Chain) or isinstance(earlier, Remove) == isinstance(step, Remove):
            kept.append(step)
        elif isinstance(earlier, Remove) and earlier.obj != step.obj:
            kept += earlier, step
    return tuple(kept)


def by_table(steps: Iterable[Step]) -> Iterator[tuple[Step, ...]]:
    """The steps of a restore that the kernel does at once, in the order in which it commits tables."""
    tables: dict[str, list[Step]] = {table: [] for table in TABLES}
    for step in steps:
        assert isinstance(step.obj, InTable)
        tables[step.obj.table].append(step)
    return (tuple(own) for own in tables.values() if own)


def in_turn(steps: Iterable[Step]) -> tuple[list[KernelObject], list[Step]]:
    """The order in which a table's restore runs: it declares (and so flushes) chains, then does the steps by turn."""
    turns = [(step.obj.turn(step), step) for step in settled(steps) if isinstance(step.obj, InTable)]
    declared: list[KernelObject] = [replace(step.obj, rules=()) for _, step in turns if isinstance(step.obj, Chain)]
    return declared, [step for _, step in sorted(turns, key=lambda entry: entry[0])]
