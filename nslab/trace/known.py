"""What explains a journey beside what was seen of it (values only)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.dataclass import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nslab.trace.authors import Authors
    from nslab.trace.observed import RouteQuestion, RouteTaken


@dataclass(frozen=True, slots=True)
class Known:
    """What explains a journey: routes by question, MTUs by host and interface, who wrote what."""

    lab: str
    routes: Mapping[RouteQuestion, RouteTaken]
    mtus: Mapping[tuple[str, str], int]
    authors: Authors
