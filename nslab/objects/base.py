"""What all kernel objects have in common, and what is done with them: they are added, removed, replaced.

A kind of object is a class in the module of its family, and says everything about itself: when it is made and what it
requires, the shell lines that do it, what Linux refuses, what it is called. Whoever makes plans, scripts, messages or
sentences asks the object, and knows no kind.
"""

from __future__ import annotations

import errno
import sys
from abc import abstractmethod
from enum import IntEnum
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

from nslab.dataclass import dataclass, field
from nslab.objects.names import host

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Key: TypeAlias = tuple[str, ...]
"""Which thing it is: its kind, its namespace, and what the kernel tells its siblings apart by."""


def addressed(ns: str, dev: str) -> Key:
    """That an interface has an address, whichever: not a thing, but something that others go with."""
    return ("Addressed", ns, dev)


def mac_of(ns: str, dev: str) -> Key:
    """That an interface keeps its link-layer address."""
    return ("Mac", ns, dev)


def is_thing(key: Key) -> bool:
    """Whether it is the key of a thing, and not only of something that is true of one."""
    return key[0] not in ("Addressed", "Mac")


def interface_of(ns: str, dev: str) -> Key:
    """What there must be to speak of an interface: lo is there as soon as its namespace is."""
    return ("Netns", ns) if dev == "lo" else ("Device", ns, dev)


class Layer(IntEnum):
    """The order of removal, read backwards: nothing is removed before what requires it.

    A kind's `rank` is its layer's number, and one more for each kind of the same layer that it may require.
    """

    NAMESPACE = 0
    DEVICE = 10
    SETTING = 20
    LINK = 30
    ADDRESS = 40
    NEIGHBOUR = 50
    ROUTE = 60
    SET = 70
    RULE = 80
    BALANCER = 90
    TABLE = 100
    NODE = 110
    ATTACHMENT = 120
    PROCESS = 130


Unit: TypeAlias = Literal["netns", "netlink", "tun", "sysctl", "ipset", "iptables", "ipvs", "nft", "cni", "process"]
"""How the kernel is told, and what it takes at once: a batch, a restore, a start."""


class There(Protocol):
    """What is in a kernel, as far as an object asks before it can come or go."""

    def has(self, key: Key) -> bool:
        """Whether something provides this."""

    def get(self, key: Key) -> KernelObject | None:
        """The object of that key."""

    def objects(self) -> Iterable[KernelObject]:
        """Everything."""

    def had_address(self, ns: str) -> bool:
        """Whether a namespace has or had an address: from then on it has a table `local`."""


@dataclass(frozen=True, slots=True)
class KernelObject:
    """Something in the namespace `ns` (a name as in `ip netns`).

    `by` names the component that does it on a real node; it is provenance, not identity. What only the kernel knows
    (interface indexes, random addresses) has no place here.
    """

    ns: str
    by: str = field(default="", compare=False, kw_only=True)

    rank: ClassVar[int]
    unit: ClassVar[Unit]
    """Steps of one unit and one `where` that follow each other are a transaction."""
    at_once: ClassVar[int] = sys.maxsize
    """So many steps in a transaction at most."""
    named_by_rules: ClassVar[bool] = False
    """A rule that stays may name it until it is changed itself: it is taken away last."""
    outlives: ClassVar[bool] = False
    """It stays when the kernel takes away what it requires, but is of no use then."""
    primitives: ClassVar[tuple[str, ...]] = ()
    """What a kernel must be able to do, by the names of nslab.objects.needs."""
    functions: ClassVar[str] = ""
    """Functions of the shell that its lines in a script call."""
    error_if_there: ClassVar[int] = 0
    """The error that a second one is refused with; 0: it is a setting (said twice, said once)."""
    error_if_absent: ClassVar[int] = 0
    """The error if there is none to take away; 0: it may be gone already."""
    found_whole: ClassVar[bool] = False
    """What is to be taken away is looked for with all that is said of it."""
    repeats: ClassVar[bool] = False
    """It can be there twice, and has a place."""
    by_anybody: ClassVar[bool] = False
    """CNI plugins and learners make such things too: what no lab has named is not nslab's to take away there."""
    tells_why: ClassVar[bool] = False
    """Taken away in order to be made anew, it says what is wrong with it."""

    # --- Identity, and the order of things

    @property
    def key(self) -> Key:
        """Identity: equal for the same thing with other settings."""
        return (type(self).__name__, self.ns)

    @property
    def provides(self) -> tuple[Key, ...]:
        """What others can require as long as this is there: itself, as a rule."""
        return (self.key,)

    @property
    def requires(self) -> tuple[Key, ...]:
        """What this cannot exist without; the kernel takes it away together with any of them."""
        return (("Netns", self.ns),)

    @property
    def where(self) -> tuple[str, ...]:
        """Where a transaction with it is done: a namespace, as a rule."""
        return (self.ns,)

    @property
    def vanishes_with(self) -> tuple[Key, ...]:
        """Of what it requires, with what the kernel takes it away at once, so that no step need say so."""
        return self.requires

    @property
    def ends_with(self) -> tuple[Key, ...]:
        """Whose removal ends it, without its requiring that."""
        return ()

    @property
    def rebuilt_with(self) -> Key:
        """What must go so that it can come anew with other settings: it alone, as a rule."""
        return self.key

    @property
    def initial(self) -> KernelObject | None:
        """The object as the kernel made it together with its namespace or interface, if the kernel did."""
        return None

    @property
    def macs(self) -> Mapping[Key, str]:
        """The link-layer address of each interface that it is."""
        return {}

    def changes_into(self, _new: KernelObject) -> bool:
        """Whether the kernel can turn it into `new`; if not, it goes and comes anew, with all that requires it."""
        return False

    @property
    def refers_to(self) -> Iterable[Key]:
        """Chains and sets that its rules speak of."""
        return ()

    # --- What a person types

    @abstractmethod
    def lines(self, step: Step) -> list[str]:
        """The commands for a step of which this is the object."""
        raise NotImplementedError

    def script_lines(self, step: Step, _all: Mapping[Key, KernelObject]) -> list[str]:
        """The same in a script, in which `_all` these objects are made."""
        return self.lines(step)

    @classmethod
    def typed(cls, _steps: Iterable[Step]) -> list[str] | None:
        """The commands for steps of one transaction, if they are typed in another order than they are done in."""
        return None

    # --- What Linux does

    @property
    def needs(self) -> tuple[Key, ...]:
        """What must be there when it is made, so that Linux does not refuse it."""
        return self.requires

    @property
    def gives_address(self) -> bool:
        """Whether its namespace has an address when it is there."""
        return False

    @property
    def comes_first(self) -> bool:
        """Whether it is put before those that are there, where it `repeats`."""
        return False

    @property
    def sets_up(self) -> str:
        """The interface that the kernel activates when it is added, some time later."""
        return ""

    @property
    def may_be_gone(self) -> bool:
        """Whether the kernel may take it away before it is told to."""
        return False

    def error_without(self, key: Key) -> int:
        """The error if of what it needs this is missing."""
        return errno.ENODEV if key[0] == "Device" else errno.ENOENT

    def error_adding(self, _there: There) -> int:
        """The error for what is wrong with it, although all that it needs is there; or 0."""
        return 0

    def error_removing(self, there: There) -> int:
        """The error if it cannot be taken away; or 0."""
        found = there.get(self.key)
        if self.error_if_absent and (found is None or (self.found_whole and found != self)):
            return self.error_if_absent
        return errno.EBUSY if (found or self).in_use(there) else 0

    def in_use(self, _there: There) -> bool:
        """Whether something else holds it."""
        return False

    def carried(self, _there: Iterable[KernelObject]) -> list[KernelObject]:
        """What else the kernel changes with it, as it is then."""
        return []

    # --- What it is called

    @property
    def host(self) -> str:
        """The host that its namespace plays."""
        return host(self.ns)

    @property
    @abstractmethod
    def label(self) -> str:
        """What it is called, after `has no` and after `'s`."""
        raise NotImplementedError

    @property
    def sentence(self) -> str:
        """What it does for a packet."""
        return f"{self.host} has {self.label}"

    @property
    def listed(self) -> tuple[str, str]:
        """The kind of thing, in the plural, and its name, in a list of many; of most kinds there are not many."""
        return "", self.label

    @property
    def stands_for(self) -> tuple[str, ...]:
        """Addresses, networks and interfaces by which a host is known."""
        return ()

    @property
    def whose(self) -> str:
        """Which component writes it on a real node, in brackets."""
        return _WHOSE.get(self.by, f" ({self.by}'s)" if " " not in self.by else f" (the {self.by}'s)")

    def missing(self) -> str:
        """The trouble where there is none."""
        return f"{self.host} has no {self.label}{self.whose}"

    def unwanted(self) -> str:
        """The trouble where there should be none."""
        name = self.label
        return f"{self.host} has {'an' if name[0] in 'aeiou' else 'a'} {name} that is not the lab's"

    def differing(self, _old: KernelObject) -> str:
        """The trouble where there is another instead."""
        return f"{self.host}'s {self.label} is not as it should be{self.whose}"


_WHOSE = {"cloud routes": " (one of the cloud's)", "the machines": "", "": ""}


@dataclass(frozen=True, slots=True)
class OnDevice(KernelObject):
    """Something that lies on an interface and goes with it."""

    dev: str

    @property
    def requires(self) -> tuple[Key, ...]:
        return (interface_of(self.ns, self.dev),)


@dataclass(frozen=True, slots=True)
class Add:
    """Make an object that is not there."""

    obj: KernelObject


@dataclass(frozen=True, slots=True)
class Remove:
    """Take an object away."""

    obj: KernelObject


@dataclass(frozen=True, slots=True)
class Replace:
    """Change an object in place, or set what always exists."""

    old: KernelObject
    obj: KernelObject


Step: TypeAlias = Add | Remove | Replace
Plan: TypeAlias = tuple[Step, ...]
State: TypeAlias = tuple[KernelObject, ...]
"""Everything that must exist, in the order in which it is told; each object after those that it requires."""
