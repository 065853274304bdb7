"""Tables, sets, chains and elements of nftables, and what `nft -f` takes.

A text for `nft -f` is one transaction of the kernel, and no packet sees anything in between. So the order of the steps
does not matter: all that goes away goes first, from top to bottom, and what comes is put up from bottom to top.
"""

from __future__ import annotations

import errno
import re
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from nslab.dataclass import dataclass, replace
from nslab.objects.base import Add, KernelObject, Layer, Remove, Replace
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.objects.base import Key, Step, Unit

Verb: TypeAlias = Literal["flush", "delete", "add", "fill"]
Words: TypeAlias = tuple[str, str, str]
"""What is done, to what, and the rest, which a shell may not like."""

_PLAIN = re.compile(r"[\w ./:@=,-]*", re.ASCII)
_TIMEOUT = re.compile(r"\btimeout [0-9]\w* ;")
_GOES_TO = re.compile(r"(?:jump|goto) ([^\s,]+)")
_LOOKS_UP = re.compile(r"@(\S+)")


class Ruleset(KernelObject):
    """What an order of nft makes or takes away."""

    __slots__ = ()

    unit: ClassVar[Unit] = "nft"
    completed_by: ClassVar[Verb] = "add"
    """The order by which its rules, or its verdict, come to be: all that they name must be there."""

    @property
    def tables(self) -> tuple[Key, ...]:
        """The table that it is in."""
        return ()

    @abstractmethod
    def words(self, verb: Verb) -> Iterator[Words]:
        """The commands for an order."""
        raise NotImplementedError

    @abstractmethod
    def added(self, before: KernelObject | None) -> KernelObject | int:
        """What there is after nft's `add` where there was `before`, or the error."""
        raise NotImplementedError

    @classmethod
    def typed(cls, steps: Iterable[Step]) -> list[str]:
        commands = ((one.target.ns, words) for one in operations(steps) for words in one.target.words(one.verb))
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
class InTable(Ruleset):
    """Something in a table of nftables."""

    table: str

    @property
    def tables(self) -> tuple[Key, ...]:
        return (("NftTable", self.ns, self.table),)

    @property
    def requires(self) -> tuple[Key, ...]:
        return self.tables

    @property
    def vanishes_with(self) -> tuple[Key, ...]:
        # What goes with its table is named all the same, so that the plan can be taken back.
        return (("Netns", self.ns),)


@dataclass(frozen=True, slots=True)
class NftSet(InTable):
    """A named set, or (`map`) a map to verdicts. `spec` is what stands in the braces of its declaration."""

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
        return self.tables[0]  # rules name it

    def changes_into(self, new: KernelObject) -> bool:
        # They may differ in their time-out at most: the one thing that the kernel changes in place.
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
class NftChain(InTable):
    """A chain with its whole body. `hook` is what stands in the braces of a base chain's declaration."""

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
        return self.tables[0]  # rules name it

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
            return [typed[0], *typed[2:]]  # it is new, and so it is empty
        return typed[1:] if isinstance(step, Replace) else typed  # to flush it once is enough

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
class NftElement(InTable):
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
    """One thing that nft is told, for the sake of a step. To `fill` a chain is to empty it and give it its rules."""

    verb: Verb
    target: Ruleset
    step: Step


def operations(steps: Iterable[Step]) -> Iterator[Operation]:
    """What nft is told to do the steps as one transaction."""
    objects = [(step, step.obj) for step in steps if isinstance(step.obj, Ruleset)]
    # A table that goes takes all that is in it along.
    gone_keys = {target.key for step, target in objects if isinstance(step, Remove)}
    objects = [
        (step, target) for step, target in objects if isinstance(step, Add) or gone_keys.isdisjoint(target.tables)
    ]
    gone = [(step, target) for step, target in objects if isinstance(step, Remove)]
    come = [(step, target) for step, target in objects if not isinstance(step, Remove)]
    for step, target in objects:
        if isinstance(target, NftChain) and not isinstance(step, Add):
            yield Operation("flush", target, step)
    for step, target in objects:
        if isinstance(target, NftElement) and not isinstance(step, Add):
            yield Operation("delete", target, step)
    for kind in (NftChain, NftSet, NftTable):
        yield from (Operation("delete", target, step) for step, target in gone if isinstance(target, kind))
    for kind in (NftTable, NftSet):
        yield from (Operation("add", target, step) for step, target in come if isinstance(target, kind))
    for step, target in come:
        if isinstance(target, NftChain) and isinstance(step, Add):
            yield Operation("add", target, step)
    yield from (Operation("fill", target, step) for step, target in come if isinstance(target, NftChain))
    yield from (Operation("add", target, step) for step, target in come if isinstance(target, NftElement))


def perform(one: Operation, there: dict[Key, KernelObject]) -> int:
    """Do one order in memory; the error that Linux answers with, or 0."""
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
        case "flush":  # what follows fills it, or takes it away
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
    """A table with what is in it; a set with its elements."""
    gone = {key}
    while inside := {obj.key for obj in there.values() if not gone.isdisjoint(obj.requires)} - gone:
        gone |= inside
    return gone


def nft_restore(steps: Iterable[Step]) -> str:
    """Input for `nft -f -`: one transaction."""
    texts = (words for one in operations(steps) for words in one.target.words(one.verb))
    return "".join(f"{' '.join(filter(None, words))}\n" for words in texts)


def _quoted(words: str) -> str:
    return words if _PLAIN.fullmatch(words) else quote(words)
