"""Objects that the kernel is told of by rtnetlink."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from nslab.objects.base import KernelObject

if TYPE_CHECKING:
    from nslab.objects.base import Step, Unit

Messages: TypeAlias = list[tuple[str, bytes]]
"""Messages, each with the namespace in which it is said."""


class Indexes(Protocol):
    """What only the kernel knows, asked for by name."""

    def index(self, ns: str, name: str) -> int:
        """The interface's index in its namespace; OSError (ENODEV) if there is none."""

    def fresh(self, ns: str, name: str) -> int:
        """An index for an interface to be made."""

    def netns(self, ns: str) -> int:
        """A descriptor of the namespace."""


class Netlink(KernelObject):
    """What a batch of messages makes and takes away."""

    __slots__ = ()

    unit: ClassVar[Unit] = "netlink"

    @abstractmethod
    def messages(self, step: Step, indexes: Indexes) -> Messages:
        """The messages for a step of which this is the object."""
        raise NotImplementedError
