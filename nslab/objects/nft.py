"""Tables, sets, chains and elements of nftables, and the input of `nft -f`.

A file for `nft -f` is one kernel transaction, and no packet sees an intermediate state. So the order of the steps does
not matter: removals come first, dependents before what they refer to; additions follow in the opposite order.
"""

from __future__ import annotations

import errno
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from nslab.dataclass import dataclass, replace
from nslab.objects.base import Add, KernelObject, Remove, Replace
from nslab.objects.keys import Layer
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.objects.base import Step, Unit
    from nslab.objects.keys import Key

Verb: TypeAlias = Literal["flush", "delete", "add", "fill"]
Words: TypeAlias = tuple[str, str, str]
"""A command's verb, its object, and the rest, which a shell needs quoted."""

_PLAIN = re.compile(r"[\w ./:@=,-]*", re.ASCII)
_TIMEOUT = re.compile(r"\btimeout [0-9]\w* ;")
_GOES_TO = re.compile(r"(?:jump|goto) ([^\s,]+)")
_LOOKS_UP = re.compile(r"@(\S+)")


class Ruleset(KernelObject):
    """An object that a command of nft adds or removes."""

    __slots__ = ()

    unit: ClassVar[Unit] = "nft"
    completed_by: ClassVar[Verb] = "add"
    """The verb that writes its rules or its verdict: all that they refer to must exist by then."""

    @property
    def tables(self) -> tuple[Key, ...]:
        """The key of its table; empty for a table."""
        return ()

    @abstractmethod
    def words(self, verb: Verb) -> Iterator[Words]:
        """The commands for a verb."""
        raise NotImplementedError

    @abstractmethod
    def added(self, before: KernelObject | None) -> KernelObject | int:
        """The object after nft's `add` if `before` existed, or the errno."""
        raise NotImplementedError

    @classmethod
    def typed(cls, steps: Iterable[Step]) -> list[str]:
        commands = ((op.target.ns, words) for op in operations(steps) for words in op.target.words(op.verb))
        return [
            " ".join([fill("ip netns exec {} nft", ns), *map(_quoted, filter(None, words))]) for ns, words in commands
        ]

    def lines(self, step: Step) -> list[str]:
        return self.typed([step])

    @property
    def sentence(self) -> str:
        return f"{self.host} balances by its {self.label}"


@dataclass(frozen=True, slots=True)
class NftTable(Ruleset):
    """A table of nftables, of family ip."""

    name: str
    comment: str = ""

    rank: ClassVar[int] = Layer.TABLE
    named_by_rules: ClassVar[bool] = True
    primitives: ClassVar[tuple[str, ...]] = ("nftables nat", "conntrack")

    @property
    def key(self) -> Key:
        return ("NftTable", self.ns, self.name)

    def words(self, verb: Verb) -> Iterator[Words]:
        yield (
            verb,
            f"table ip {self.name}",
            f'{{ comment "{self.comment}" ; }}' if verb == "add" and self.comment else "",
        )

    def added(self, before: KernelObject | None) -> KernelObject | int:
        return before or self

    @property
    def label(self) -> str:
        return f"nftables table ip {self.name}"

    @property
    def listed(self) -> tuple[str, str]:
        return "nftables tables", f"ip {self.name}"


@dataclass(frozen=True, slots=True)
class InNftTable(Ruleset):
    """An object in a table of nftables."""

    table: str

    @property
    def tables(self) -> tuple[Key, ...]:
        return (("NftTable", self.ns, self.table),)

    @property
    def requires(self) -> tuple[Key, ...]:
        return self.tables

    @property
    def vanishes_with(self) -> tuple[Key, ...]:
        # Objects that go with their table have steps of their own nevertheless, so that the plan can be inverted.
        return (("Netns", self.ns),)


@dataclass(frozen=True, slots=True)
class NftSet(InNftTable):
    """A named set, or (`map`) a verdict map. `spec`: the text between the braces of its declaration."""

    name: str
    spec: str
    map: bool = False

    rank: ClassVar[int] = Layer.TABLE + 1
    named_by_rules: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("NftSet", self.ns, self.table, self.name)

    @property
    def rebuilt_with(self) -> Key:
        return self.tables[0]  # rules refer to it

    def changes_into(self, new: KernelObject) -> bool:
        # The kernel can change only the time-out in place.
        return isinstance(new, NftSet) and (self.map, _TIMEOUT.sub("", self.spec)) == (
            new.map,
            _TIMEOUT.sub("", new.spec),
        )

    def words(self, verb: Verb) -> Iterator[Words]:
        kind = "map" if self.map else "set"
        yield verb, f"{kind} ip {self.table} {self.name}", f"{{ {self.spec} }}" if verb == "add" else ""

    def added(self, before: KernelObject | None) -> KernelObject | int:
        return errno.EEXIST if before and not before.changes_into(self) else self

    @property
    def label(self) -> str:
        return f"nftables {'map' if self.map else 'set'} {self.name}"

    @property
    def listed(self) -> tuple[str, str]:
        return "nftables sets and maps", self.name


@dataclass(frozen=True, slots=True)
class NftChain(InNftTable):
    """A chain with all its rules. `hook`: the text between the braces of a base chain's declaration."""

    name: str
    hook: str
    rules: tuple[str, ...]

    rank: ClassVar[int] = Layer.TABLE + 2
    named_by_rules: ClassVar[bool] = True
    completed_by: ClassVar[Verb] = "fill"

    @property
    def key(self) -> Key:
        return ("NftChain", self.ns, self.table, self.name)

    @property
    def rebuilt_with(self) -> Key:
        return self.tables[0]  # rules refer to it

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, NftChain) and self.hook == new.hook

    def words(self, verb: Verb) -> Iterator[Words]:
        if verb == "fill":
            yield "flush", f"chain ip {self.table} {self.name}", ""
            yield from (("add", f"rule ip {self.table} {self.name}", rule) for rule in self.rules)
        else:
            hook = f"{{ {self.hook} }}" if verb == "add" and self.hook else ""
            yield verb, f"chain ip {self.table} {self.name}", hook

    def lines(self, step: Step) -> list[str]:
        typed = self.typed([step])
        if isinstance(step, Add):
            return [typed[0], *typed[2:]]  # a new chain is empty: no flush
        return typed[1:] if isinstance(step, Replace) else typed  # one flush is enough

    def added(self, before: KernelObject | None) -> KernelObject | int:
        if before:
            return before if before.changes_into(self) else errno.EEXIST
        return replace(self, rules=())

    @property
    def refers_to(self) -> Iterator[Key]:
        for rule in self.rules:
            yield from (("NftChain", self.ns, self.table, name) for name in _GOES_TO.findall(rule))
            yield from (("NftSet", self.ns, self.table, name) for name in _LOOKS_UP.findall(rule))

    @property
    def label(self) -> str:
        return f"nftables chain {self.name}"

    @property
    def listed(self) -> tuple[str, str]:
        return "nftables chains", self.name


@dataclass(frozen=True, slots=True)
class NftElement(InNftTable):
    """One element of a set, or one entry of a map with its verdict."""

    set: str
    element: str
    verdict: str = ""
    comment: str = ""

    rank: ClassVar[int] = Layer.TABLE + 3

    @property
    def key(self) -> Key:
        return ("NftElement", self.ns, self.table, self.set, self.element)

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("NftSet", self.ns, self.table, self.set),)

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, NftElement)

    def words(self, verb: Verb) -> Iterator[Words]:
        comment = f' comment "{self.comment}"' if self.comment else ""
        whole = f"{self.element}{comment}{f' : {self.verdict}' if self.verdict else ''}"
        yield verb, f"element ip {self.table} {self.set}", f"{{ {whole if verb == 'add' else self.element} }}"

    def added(self, before: KernelObject | None) -> KernelObject | int:
        if isinstance(before, NftElement) and before.verdict != self.verdict:
            return errno.EEXIST
        return before or self

    @property
    def refers_to(self) -> Iterator[Key]:
        return (("NftChain", self.ns, self.table, name) for name in _GOES_TO.findall(self.verdict))

    @property
    def label(self) -> str:
        return f"element {self.element} in nftables {self.set}"

    @property
    def listed(self) -> tuple[str, str]:
        return "elements of nftables sets and maps", f"{self.set} {self.element}"


class Operation(NamedTuple):
    """One command of nft for a step. `fill` flushes a chain and adds its rules."""

    verb: Verb
    target: Ruleset
    step: Step


def operations(steps: Iterable[Step]) -> Iterator[Operation]:
    """The commands of nft that do the steps in one transaction, in order."""
    objects = [(step, step.obj) for step in steps if isinstance(step.obj, Ruleset)]
    # Deleting a table deletes all its contents.
    gone_keys = {target.key for step, target in objects if isinstance(step, Remove)}
    objects = [
        (step, target) for step, target in objects if isinstance(step, Add) or gone_keys.isdisjoint(target.tables)
    ]
    removed = [(step, target) for step, target in objects if isinstance(step, Remove)]
    added = [(step, target) for step, target in objects if not isinstance(step, Remove)]
    for step, target in objects:
        if isinstance(target, NftChain) and not isinstance(step, Add):
            yield Operation("flush", target, step)
    for step, target in objects:
        if isinstance(target, NftElement) and not isinstance(step, Add):
            yield Operation("delete", target, step)
    for kind in (NftChain, NftSet, NftTable):
        yield from (Operation("delete", target, step) for step, target in removed if isinstance(target, kind))
    for kind in (NftTable, NftSet):
        yield from (Operation("add", target, step) for step, target in added if isinstance(target, kind))
    for step, target in added:
        if isinstance(target, NftChain) and isinstance(step, Add):
            yield Operation("add", target, step)
    yield from (Operation("fill", target, step) for step, target in added if isinstance(target, NftChain))
    yield from (Operation("add", target, step) for step, target in added if isinstance(target, NftElement))


def perform(one: Operation, there: dict[Key, KernelObject]) -> int:
    """Do one command in memory; Linux's errno, or 0."""
    verb, target, _ = one
    before = there.get(target.key)
    named = target.refers_to if verb == target.completed_by else ()
    if any(key not in there for key in (*target.requires, *named)) or (before is None and verb != "add"):
        return errno.ENOENT
    match verb:
        case "delete":
            if any(target.key in user.refers_to for user in there.values() if user is not before):
                return errno.EBUSY
            for key in _with_all_inside(target.key, there):
                del there[key]
        case "flush":  # a later command fills the chain or deletes it
            there[target.key] = replace(before, rules=()) if isinstance(before, NftChain) else target
        case "fill":
            there[target.key] = target
        case "add":
            made = target.added(before)
            if isinstance(made, int):
                return made
            there[target.key] = made
    return 0


def _with_all_inside(key: Key, there: dict[Key, KernelObject]) -> set[Key]:
    """The keys of a table and its contents, or of a set and its elements."""
    gone = {key}
    while inside := {obj.key for obj in there.values() if not gone.isdisjoint(obj.requires)} - gone:
        gone |= inside
    return gone


def nft_restore(steps: Iterable[Step]) -> str:
    """Input for `nft -f -`: one transaction."""
    commands = (words for op in operations(steps) for words in op.target.words(op.verb))
    return "".join(f"{' '.join(filter(None, words))}\n" for words in commands)


def _quoted(words: str) -> str:
    return words if _PLAIN.fullmatch(words) else quote(words)
