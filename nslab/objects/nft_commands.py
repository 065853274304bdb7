"""The input of `nft -f` for steps on tables, sets, chains and elements of nftables.

A file for `nft -f` is one kernel transaction, and no packet sees an intermediate state. So the order of the steps does
not matter: removals come first, dependents before what they refer to; additions follow in the opposite order.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from enum import IntEnum, auto
from operator import attrgetter
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from nslab.objects.base import Add, KernelObject, Remove
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.objects.base import Step, Unit
    from nslab.objects.keys import Key

Verb: TypeAlias = Literal["flush", "delete", "add", "fill"]
"""`fill` flushes a chain and adds its rules."""
Words: TypeAlias = tuple[str, str, str]
"""A command's verb, its object, and the rest, which a shell needs quoted."""

_PLAIN = re.compile(r"[\w ./:@=,-]*", re.ASCII)


class CommandOrder(IntEnum):
    """When a command's turn is in a transaction."""

    FLUSH_CHAIN = auto()
    DELETE_ELEMENT = auto()
    DELETE_CHAIN = auto()
    DELETE_SET = auto()
    DELETE_TABLE = auto()
    ADD_TABLE = auto()
    ADD_SET = auto()
    ADD_CHAIN = auto()
    FILL_CHAIN = auto()
    ADD_ELEMENT = auto()


class Operation(NamedTuple):
    """One command of nft for a step."""

    turn: CommandOrder
    verb: Verb
    target: Ruleset
    step: Step


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
    def turns(self, step: Step) -> Iterator[tuple[CommandOrder, Verb]]:
        """The verbs for a step on it, and when their turn is."""
        raise NotImplementedError

    @abstractmethod
    def added(self, before: KernelObject | None) -> KernelObject | int:
        """The object after nft's `add` if `before` existed, or the errno."""
        raise NotImplementedError

    @property
    def flushed(self) -> Ruleset:
        """The object after nft's `flush`."""
        return self

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


def operations(steps: Iterable[Step]) -> list[Operation]:
    """The commands of nft that do the steps in one transaction, in order."""
    objects = [(step, step.obj) for step in steps if isinstance(step.obj, Ruleset)]
    # Deleting a table deletes all its contents.
    gone_keys = {target.key for step, target in objects if isinstance(step, Remove)}
    found = [
        Operation(turn, verb, target, step)
        for step, target in objects
        if isinstance(step, Add) or gone_keys.isdisjoint(target.tables)
        for turn, verb in target.turns(step)
    ]
    return sorted(found, key=attrgetter("turn"))


def nft_restore(steps: Iterable[Step]) -> str:
    """Input for `nft -f -`: one transaction."""
    commands = (words for op in operations(steps) for words in op.target.words(op.verb))
    return "".join(f"{' '.join(filter(None, words))}\n" for words in commands)


def _quoted(words: str) -> str:
    return words if _PLAIN.fullmatch(words) else quote(words)
