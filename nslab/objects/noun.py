"""What all nouns have in common: a namespace, an identity, and what they lie on."""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from nslab.dataclass import dataclass, field

Key: TypeAlias = tuple[str, ...]
"""Which thing it is: its kind, its namespace, and what the kernel tells its siblings apart by."""


def addressed(ns: str, dev: str) -> Key:
    """That an interface has an address, whichever: not a thing, but something that others go with."""
    return ("Addressed", ns, dev)


def mac_of(ns: str, dev: str) -> Key:
    """That an interface keeps its link-layer address."""
    return ("Mac", ns, dev)


@dataclass(frozen=True, slots=True)
class Noun:
    """Something in the namespace `ns` (a name as in `ip netns`)."""

    ns: str
    by: str = field(default="", compare=False, kw_only=True)

    @property
    def key(self) -> Key:
        """Identity: equal for the same thing with other settings."""
        return (type(self).__name__, self.ns)

    @property
    def gives(self) -> tuple[Key, ...]:
        """What others can lie on as long as this is there: itself, as a rule."""
        return (self.key,)

    @property
    def lies_on(self) -> tuple[Key, ...]:
        """What this cannot exist without; the kernel takes it away together with any of them."""
        return (("Netns", self.ns),)


@dataclass(frozen=True, slots=True)
class Device(Noun):
    """An interface, by name."""

    name: str

    @property
    def key(self) -> Key:
        return ("Device", self.ns, self.name)


@dataclass(frozen=True, slots=True)
class OnDevice(Noun):
    """Something that lies on an interface and goes with it."""

    dev: str

    @property
    def lies_on(self) -> tuple[Key, ...]:
        return (("Device", self.ns, self.dev),)


@dataclass(frozen=True, slots=True)
class Process(Noun):
    """Something that runs in `ns`; the process of `node` (a namespace too) starts and reaps it; it outlives that."""

    role: ClassVar[str] = ""
    node: str

    @property
    def key(self) -> Key:
        return ("Process", self.ns, self.role)
