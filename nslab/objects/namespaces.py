"""Network namespaces, by name."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass
from nslab.objects.base import KernelObject, Remove
from nslab.objects.keys import Layer
from nslab.quote import fill

if TYPE_CHECKING:
    from nslab.objects.base import Step, Unit
    from nslab.objects.keys import Key


@dataclass(frozen=True, slots=True)
class Netns(KernelObject):
    """A named network namespace; `host` is what it represents (a node, a pod, a client, the switch)."""

    rank: ClassVar[int] = Layer.NAMESPACE
    unit: ClassVar[Unit] = "netns"
    error_if_there: ClassVar[int] = errno.EEXIST

    @property
    def requires(self) -> tuple[Key, ...]:
        return ()

    @property
    def where(self) -> tuple[str, ...]:
        return ()

    def lines(self, step: Step) -> list[str]:
        return [fill("ip netns {} {}", "del" if isinstance(step, Remove) else "add", self.ns)]

    @property
    def label(self) -> str:
        return "namespace"

    @property
    def sentence(self) -> str:
        return f"{self.host} exists"

    def missing(self) -> str:
        return f"there is no {self.host}"


def seen(ns: str) -> Netns:
    """The namespace of that name."""
    return Netns(ns)
