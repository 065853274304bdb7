"""Tables, sets, chains and elements of nftables. The input of `nft -f` for them is made in nft_commands.py."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass, replace
from nslab.objects.base import Add, KernelObject, Remove, Replace
from nslab.objects.keys import Layer
from nslab.objects.nft_commands import CommandOrder, Ruleset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.objects.base import Step
    from nslab.objects.keys import Key
    from nslab.objects.nft_commands import Verb, Words

_TIMEOUT = re.compile(r"\btimeout [0-9]\w* ;")
_GOES_TO = re.compile(r"(?:jump|goto) ([^\s,]+)")
_LOOKS_UP = re.compile(r"@(\S+)")


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

    def turns(self, step: Step) -> Iterator[tuple[CommandOrder, Verb]]:
        yield (CommandOrder.DELETE_TABLE, "delete") if isinstance(step, Remove) else (CommandOrder.ADD_TABLE, "add")

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

    def turns(self, step: Step) -> Iterator[tuple[CommandOrder, Verb]]:
        yield (CommandOrder.DELETE_SET, "delete") if isinstance(step, Remove) else (CommandOrder.ADD_SET, "add")

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

    def turns(self, step: Step) -> Iterator[tuple[CommandOrder, Verb]]:
        if not isinstance(step, Add):
            yield CommandOrder.FLUSH_CHAIN, "flush"
        if isinstance(step, Remove):
            yield CommandOrder.DELETE_CHAIN, "delete"
            return
        if isinstance(step, Add):
            yield CommandOrder.ADD_CHAIN, "add"
        yield CommandOrder.FILL_CHAIN, "fill"

    def added(self, before: KernelObject | None) -> KernelObject | int:
        if before:
            return before if before.changes_into(self) else errno.EEXIST
        return self.flushed

    @property
    def flushed(self) -> NftChain:
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

    def turns(self, step: Step) -> Iterator[tuple[CommandOrder, Verb]]:
        if not isinstance(step, Add):
            yield CommandOrder.DELETE_ELEMENT, "delete"
        if not isinstance(step, Remove):
            yield CommandOrder.ADD_ELEMENT, "add"

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
