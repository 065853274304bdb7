"""Who may reach a pod, and whom it may reach, as a table and as JSON (pure)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.api.words import shown, some
from nslab.probes.access import ALL
from nslab.views.table import table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.probes.access import Access, PodAccess

MOST = 3
"""Of many policies, so many are named; the data has all."""
_HEADER = ("HOST", "MAY REACH IT", "THE REST DENIED BY", "IT MAY REACH", "THE REST DENIED BY")


def lines(found: PodAccess, columns: int = 0) -> Iterator[str]:
    """In each direction the policies that isolate it, then a row for each host."""
    for way, policies in found.isolated.items():
        yield f"{way} of {found.pod}: " + (f"isolated by {some_policies(policies)}" if policies else "not isolated")
    rows = [(host, *_cells(there), *_cells(back)) for host, (there, back) in found.hosts.items()]
    yield ""
    yield table(_HEADER, rows, columns)


def _cells(one: Access) -> tuple[str, str]:
    ports = "yes" if one.ports == (ALL,) else ", ".join(one.ports) or "no"
    return ports, some_policies(one.policies)


def some_policies(policies: Sequence[str]) -> str:
    """The names of policies, of many the first; a long one shortened."""
    return some([*map(shown, policies)], MOST)


def to_json(found: PodAccess) -> dict[str, Any]:
    """The same as data."""
    return {
        "pod": found.pod,
        "isolated": {way: list(policies) for way, policies in found.isolated.items()},
        "hosts": [
            {"host": host, "from": _as_data(there), "to": _as_data(back)} for host, (there, back) in found.hosts.items()
        ],
    }


def _as_data(one: Access) -> dict[str, Any]:
    return {"ports": list(one.ports), "deniedBy": list(one.policies)}
