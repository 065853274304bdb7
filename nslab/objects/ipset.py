"""Sets of addresses, the input of `ipset restore`, and the output of `ipset save`."""

from __future__ import annotations

import errno
from abc import abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass
from nslab.objects.base import KernelObject, Remove
from nslab.objects.keys import Layer
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from nslab.objects.base import Step, There, Unit
    from nslab.objects.keys import Key


class OfSets(KernelObject):
    """An object that a line of `ipset restore` adds or removes."""

    __slots__ = ()

    unit: ClassVar[Unit] = "ipset"
    error_if_there: ClassVar[int] = errno.EEXIST
    error_if_absent: ClassVar[int] = errno.ENOENT

    @abstractmethod
    def command(self, step: Step) -> str:
        """The line of `ipset restore` for a step."""
        raise NotImplementedError

    def lines(self, step: Step) -> list[str]:
        return [" ".join([fill("ip netns exec {} ipset", self.ns), *map(quote, self.command(step).split())])]


@dataclass(frozen=True, slots=True)
class IpSet(OfSets):
    """A named set of addresses or networks. `options` follow the type in `ipset create`; Felix's by default."""

    name: str
    type: str
    options: str = "family inet hashsize 1024 maxelem 1048576"

    rank: ClassVar[int] = Layer.SET
    named_by_rules: ClassVar[bool] = True
    primitives: ClassVar[tuple[str, ...]] = ("ipset",)

    @property
    def key(self) -> Key:
        return ("IpSet", self.ns, self.name)

    def command(self, step: Step) -> str:
        if isinstance(step, Remove):
            return f"destroy {self.name}"
        return f"create {self.name} {self.type} {self.options}"

    def in_use(self, there: There) -> bool:
        return any(self.key in user.refers_to for user in there.objects())

    @property
    def label(self) -> str:
        return f"ipset {self.name}"

    @property
    def listed(self) -> tuple[str, str]:
        return "ipsets", self.name


@dataclass(frozen=True, slots=True)
class SetMember(OfSets):
    """One element of a set, as `ipset save` writes it."""

    set: str
    member: str

    rank: ClassVar[int] = Layer.SET + 1

    @property
    def key(self) -> Key:
        return ("SetMember", self.ns, self.set, self.member)

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("IpSet", self.ns, self.set),)

    def command(self, step: Step) -> str:
        return f"{'del' if isinstance(step, Remove) else 'add'} {self.set} {self.member}"

    @property
    def label(self) -> str:
        return f"member {self.member} in ipset {self.set}"

    @property
    def listed(self) -> tuple[str, str]:
        return "members of ipsets", f"{self.set} {self.member}"


def ipset_restore(steps: Iterable[Step]) -> str:
    """Input for `ipset restore`, one line for each step."""
    return "".join(f"{step.obj.command(step)}\n" for step in steps if isinstance(step.obj, OfSets))


def held_back(steps: Sequence[Step]) -> Iterator[Step]:
    """The last steps, in reverse order, that are lost when the next line cannot be parsed.

    `ipset restore` buffers consecutive additions to one set (or removals from it), and sends them in one message.
    """
    for step in reversed(steps):
        if not isinstance(step.obj, SetMember) or _into(step) != _into(steps[-1]):
            break
        yield step


def _into(step: Step) -> tuple[type, tuple[Key, ...]]:
    return type(step), step.obj.requires


def seen(ns: str, saved: str, known: Iterable[KernelObject]) -> Iterator[OfSets]:
    """The sets of `known` and all their members, from the output of `ipset save`."""
    names = {obj.name for obj in known if isinstance(obj, IpSet)}
    for line in saved.splitlines():
        match line.split():
            case ["create", name, kind, *options] if name in names:
                yield IpSet(ns, name, kind, _created_with(options))
            case ["add", name, member, *_] if name in names:
                yield SetMember(ns, name, member)


def others(saved: str, known: Iterable[KernelObject]) -> Iterator[tuple[str, str, int]]:
    """Name, type and number of members of each set that is not of `known`, in the output of `ipset save`."""
    names = {obj.name for obj in known if isinstance(obj, IpSet)}
    words = [line.split() for line in saved.splitlines()]
    members = Counter(word[1] for word in words if word[0] == "add")
    for word in words:
        if word[0] == "create" and word[1] not in names:
            yield word[1], word[2], members[word[1]]


def _created_with(options: Sequence[str]) -> str:
    """The options of `ipset create` among those that the kernel reports: its hashes have a salt, and they grow."""
    match options:
        case ["family", family, "hashsize", _, "maxelem", most, *_]:
            return f"family {family} hashsize 1024 maxelem {most}"
        case _:
            return " ".join(options)
