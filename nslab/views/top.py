"""The parts of `top`'s page as lines of text, which say everything without colour."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from nslab.quote import visible
from nslab.views.packets import clock
from nslab.views.table import padded, width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.trace.lab_events.page import TopPage

_UNITS = ("", "k", "M", "G")
_CLOCK = 8
"""Columns of the time of an event: without its fraction."""
_NAME = 21
"""The most columns of HOST:INTERFACE: with them both rates fit into half of 80."""


def head(page: TopPage) -> str:
    """The lab, the time, and the connections that conntrack has."""
    known = "  ".join(f"{host} {number}" for host, number in sorted(page.connections.items()))
    late = f"   {page.overruns} overruns" if page.overruns else ""
    return visible(f"{page.lab}   {clock(page.at)[:_CLOCK]}   conntrack: {known or 'nothing'}{late}")


def links(page: TopPage) -> Iterator[str]:
    """A line for each interface, the busiest first: packets and bytes in a second."""
    rows = [(_interface(one.host, one.dev), one) for one in page.links]
    room = max((width(name) for name, _ in rows), default=0)
    yield f"{padded('INTERFACE', room)} {'IN/s':>5} {'OUT/s':>5} {'B/s':>5}"
    for name, one in rows:
        size = short(one.bytes_in + one.bytes_out)
        yield visible(f"{padded(name, room)} {short(one.packets_in):>5} {short(one.packets_out):>5} {size:>5}")


def _interface(host: str, dev: str) -> str:
    return f"{_shortened(host, max(_NAME - 1 - len(dev), 1))}:{dev}"


def _shortened(name: str, room: int) -> str:
    """A name in at most `room` columns, without its middle: the pods of one Deployment differ at the end."""
    behind = (room - 1) // 2
    return name if len(name) <= room else f"{name[: room - 1 - behind]}…{name[len(name) - behind :]}"


def services(page: TopPage) -> Iterator[str]:
    """Below each Service a line for each endpoint: the connections that it got since the page began, and their part."""
    for service, group in groupby(page.endpoints, key=lambda one: one.service):
        ends = [*group]
        total = sum(end.hits for end in ends)
        yield visible(f"{service}  {total}")
        for end in ends:
            part = f"{end.hits / total:>4.0%}" if total else "   -"
            yield visible(f"{end.hits:>4} {part} {_end(end.pod, end.address)}")


def _end(pod: str, address: str) -> str:
    return f"{pod.removeprefix('default/')} {address}" if pod else address


def events(page: TopPage) -> Iterator[str]:
    """The last events, the newest first."""
    for one in reversed(page.events):
        what = f"{one.kind.value} {one.action.value}"
        yield visible(f"{clock(one.at)[:_CLOCK]} {one.host} {what}: {one.text}")


def short(number: float) -> str:
    """A number in at most five characters: 999, 1.2k, 34k, 5.6M."""
    unit = 0
    while number >= 1000 and unit < len(_UNITS) - 1:
        number, unit = number / 1000, unit + 1
    return f"{number:.0f}" if not unit else f"{number:.{int(number < 10)}f}{_UNITS[unit]}"
