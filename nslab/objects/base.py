"""The interface of all kernel objects, and the steps on them: Add, Remove, Replace.

A kind of object is a class in the module of its family and answers everything about itself: its order and what it
requires, its shell lines, what Linux refuses, its label. Code that makes plans, scripts, messages or sentences asks
the object and knows no kind.
"""

from __future__ import annotations

import errno
import sys
from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from nslab.dataclass import dataclass, field
from nslab.objects.keys import Key, interface_of
from nslab.objects.names import host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Unit: TypeAlias = Literal["netns", "netlink", "tun", "sysctl", "ipset", "iptables", "ipvs", "nft", "cni", "process"]
"""The kernel interface of a transaction, and how much it accepts at once: a batch, a restore, a start."""


class There(Protocol):
    """The contents of a kernel, as far as an object needs them to decide whether it can be added or removed."""

    def has(self, key: Key) -> bool:
        """Whether something provides this."""

    def get(self, key: Key) -> KernelObject | None:
        """The object of that key."""

    def objects(self) -> Iterable[KernelObject]:
        """All objects."""

    def had_address(self, ns: str) -> bool:
        """Whether a namespace has or had an address: from then on it has a routing table `local`."""


@dataclass(frozen=True, slots=True)
class KernelObject:
    """An object in the network namespace `ns` (a name as in `ip netns`).

    `by` names the component that makes it on a real node; it is provenance, not identity. Values that only the kernel
    knows (interface indexes, random addresses) are not stored.
    """

    ns: str
    by: str = field(default="", compare=False, kw_only=True)

    rank: ClassVar[int]
    unit: ClassVar[Unit]
    """Consecutive steps with the same unit and the same `where` form a transaction."""
    at_once: ClassVar[int] = sys.maxsize
    """The maximum number of steps in a transaction."""
    named_by_rules: ClassVar[bool] = False
    """Rules may refer to it until they are replaced themselves, so it is removed last."""
    outlives: ClassVar[bool] = False
    """It survives the removal of what it requires, but is useless then."""
    functions: ClassVar[str] = ""
    """Shell functions that its lines in a script call."""
    error_if_there: ClassVar[int] = 0
    """The errno with which the kernel refuses a duplicate; 0: it is a setting, and setting it again has no effect."""
    error_if_absent: ClassVar[int] = 0
    """The errno for the removal of a missing one; 0: it may be gone already."""
    found_whole: ClassVar[bool] = False
    """A removal matches all its fields, not only its key."""
    repeats: ClassVar[bool] = False
    """The kernel allows duplicates, and their order matters."""
    by_anybody: ClassVar[bool] = False
    """CNI plugins and users make such objects, too: nslab does not remove those that no lab has contained."""
    tells_why: ClassVar[bool] = False
    """When it is removed to be added again, its message says what is wrong with it."""

    # --- Identity and order

    @property
    def key(self) -> Key:
        """Identity: equal for the same object with other settings."""
        return (type(self).__name__, self.ns)

    @property
    def provides(self) -> tuple[Key, ...]:
        """The keys that others can require while this exists: by default its own."""
        return (self.key,)

    @property
    def requires(self) -> tuple[Key, ...]:
        """The keys this cannot exist without; the kernel removes it together with any of them."""
        return (("Netns", self.ns),)

    @property
    def where(self) -> tuple[str, ...]:
        """Where a transaction with it runs: by default its namespace."""
        return (self.ns,)

    @property
    def vanishes_with(self) -> tuple[Key, ...]:
        """The required keys whose removal removes it at once, so that it needs no step of its own."""
        return self.requires

    @property
    def ends_with(self) -> tuple[Key, ...]:
        """Keys that it does not require, but whose removal ends it."""
        return ()

    @property
    def rebuilt_with(self) -> Key:
        """The key that must be removed so that it can be added with other settings: by default its own."""
        return self.key

    @property
    def initial(self) -> KernelObject | None:
        """The object as the kernel makes it together with its namespace or interface; None if the kernel does not."""
        return None

    @property
    def macs(self) -> Mapping[Key, str]:
        """The link-layer address of each of its interfaces."""
        return {}

    def changes_into(self, _new: KernelObject) -> bool:
        """Whether the kernel can change it to `new` in place; if not, it and what requires it are removed and added."""
        return False

    @property
    def refers_to(self) -> Iterable[Key]:
        """The chains and sets that its rules refer to."""
        return ()

    # --- Shell commands

    @abstractmethod
    def lines(self, step: Step) -> list[str]:
        """The commands for a step on this object."""
        raise NotImplementedError

    def script_lines(self, step: Step, _all: Mapping[Key, KernelObject]) -> list[str]:
        """The same in a script, which makes all the objects `_all`."""
        return self.lines(step)

    @classmethod
    def typed(cls, _steps: Iterable[Step]) -> list[str] | None:
        """The commands for the steps of one transaction, if a shell needs another order than the kernel; else None."""
        return None

    # --- Linux's behaviour

    @property
    def primitives(self) -> tuple[str, ...]:
        """The kernel features it needs, by the names of nslab.objects.needs."""
        return ()

    @property
    def needs(self) -> tuple[Key, ...]:
        """The keys that must exist when it is added; otherwise Linux refuses it."""
        return self.requires

    @property
    def provides_address(self) -> bool:
        """Whether its namespace has an address while it exists."""
        return False

    @property
    def comes_first(self) -> bool:
        """Whether it is inserted before the existing ones, if it `repeats`."""
        return False

    @property
    def inserted_into(self) -> Key:
        """The list at whose top it is inserted, before those that the state has earlier; () if its place is its own."""
        return ()

    @property
    def sets_up(self) -> str:
        """The interface that the kernel activates some time after this is added."""
        return ""

    @property
    def may_be_gone(self) -> bool:
        """Whether it may be removed by the kernel, or by a daemon, before the step that does."""
        return False

    @property
    def may_be_there(self) -> bool:
        """Whether a daemon may add it before the step that does."""
        return False

    def error_without(self, key: Key) -> int:
        """The errno if this key of its `needs` is missing."""
        return errno.ENODEV if key[0] == "Device" else errno.ENOENT

    def error_adding(self, _there: There) -> int:
        """The errno of an Add whose `needs` all exist, or 0."""
        return 0

    def error_removing(self, there: There) -> int:
        """The errno if it cannot be removed, or 0."""
        found = there.get(self.key)
        if self.error_if_absent and (found is None or (self.found_whole and found != self)):
            return self.error_if_absent
        return errno.EBUSY if (found or self).in_use(there) else 0

    def in_use(self, _there: There) -> bool:
        """Whether another object holds it."""
        return False

    def carried(self, _there: Iterable[KernelObject]) -> list[KernelObject]:
        """The other objects that the kernel changes with it, with their new values."""
        return []

    # --- Text for people

    @property
    def host(self) -> str:
        """The host that its namespace represents."""
        return host(self.ns)

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name in a sentence, after `has no` and after `'s`."""
        raise NotImplementedError

    @property
    def sentence(self) -> str:
        """A sentence about what it does for a packet."""
        return f"{self.host} has {self.label}"

    @property
    def listed(self) -> tuple[str, str]:
        """Its kind in the plural ("" if objects of the kind are never grouped) and its name, for a list of many."""
        return "", self.label

    @property
    def stands_for(self) -> tuple[str, ...]:
        """Addresses, networks and interfaces that identify a host."""
        return ()

    @property
    def whose(self) -> str:
        """The component that writes it on a real node, in brackets."""
        return _WHOSE.get(self.by, f" ({self.by}'s)" if " " not in self.by else f" (the {self.by}'s)")

    def missing(self) -> str:
        """The finding if it does not exist."""
        return f"{self.host} has no {self.label}{self.whose}"

    def unwanted(self) -> str:
        """The finding if it exists and should not."""
        name = self.label
        return f"{self.host} has {'an' if name[0] in 'aeiou' else 'a'} {name} that is not the lab's"

    def differing(self, _old: KernelObject) -> str:
        """The finding if `_old` exists in its place."""
        return f"{self.host}'s {self.label} is not as it should be{self.whose}"


_WHOSE = {"cloud routes": " (one of the cloud's)", "the machines": "", "": ""}


@dataclass(frozen=True, slots=True)
class OnDevice(KernelObject):
    """An object on an interface, which the kernel removes with it."""

    dev: str

    @property
    def requires(self) -> tuple[Key, ...]:
        return (interface_of(self.ns, self.dev),)


@dataclass(frozen=True, slots=True)
class Add:
    """Add an object that does not exist."""

    obj: KernelObject


@dataclass(frozen=True, slots=True)
class Remove:
    """Remove an existing object."""

    obj: KernelObject


@dataclass(frozen=True, slots=True)
class Replace:
    """Change an object in place, or change a setting, which always exists."""

    old: KernelObject
    obj: KernelObject


Step: TypeAlias = Add | Remove | Replace
Plan: TypeAlias = tuple[Step, ...]
State: TypeAlias = tuple[KernelObject, ...]
"""All objects that must exist, in creation order: each object after those it requires."""
