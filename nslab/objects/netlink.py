"""Objects that are added and removed by rtnetlink."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeAlias

from nslab.objects.base import KernelObject

if TYPE_CHECKING:
    from nslab.objects.base import Step, Unit

Messages: TypeAlias = list[tuple[str, bytes]]
"""Messages, each with the namespace in which it is sent."""


class Indexes(Protocol):
    """Values that only the kernel knows, by name."""

    def index(self, ns: str, name: str) -> int:
        """The interface's index in its namespace; OSError (ENODEV) if there is none."""

    def fresh(self, ns: str, name: str) -> int:
        """An index for a new interface."""

    def netns(self, ns: str) -> int:
        """A file descriptor of the namespace."""


class Netlink(KernelObject):
    """An object that a batch of messages adds or removes."""

    __slots__ = ()

    unit: ClassVar[Unit] = "netlink"

    @abstractmethod
    def messages(self, step: Step, indexes: Indexes) -> Messages:
        """The messages for a step on this object."""
        raise NotImplementedError
