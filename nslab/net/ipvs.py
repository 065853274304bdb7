"""Virtual and real servers of IPVS: the commands that a person types, and what `ipvsadm -R` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from nslab.net.balance import RealServer, VirtualServer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.net.steps import Step

Servers: TypeAlias = VirtualServer | RealServer


def lines(step: Step, obj: Servers) -> list[str]:
    """The commands for one step."""
    raise NotImplementedError


def ipvsadm_restore(steps: Iterable[Step]) -> str:
    """Input for `ipvsadm -R`, a line a step."""
    raise NotImplementedError
