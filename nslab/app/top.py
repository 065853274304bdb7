"""Pictures of a running lab, one in a second."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nslab.app.events import hearing
from nslab.linux.netlink.batch import packet_counts
from nslab.linux.netns import Namespaces
from nslab.objects.names import netns
from nslab.trace.lab_events.page import TopCounts, TopPage, rates

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PERIOD, _STEP = 1.0, 200.0
"""Seconds between two pictures, and milliseconds after which an end is noticed."""
_CONNTRACK = "/proc/sys/net/netfilter/nf_conntrack_count"


def pages(name: str, stopped: int) -> Iterator[TopPage | None]:
    """The pictures of a lab, and None meanwhile, so that who takes them can end it. UsageError if it does not run.

    It ends once `stopped` is readable, or the lab is down. It may run in any thread.
    """
    with Namespaces() as spaces, hearing(name, stopped) as heard:
        counts, since = TopCounts(), time.time_ns()
        before, at = _counted(spaces, name, heard.hosts), time.monotonic()
        while (found := heard.step(_STEP)) is not None:
            counts.add(found)
            if (now := time.monotonic()) - at < _PERIOD:
                yield None
                continue
            after = _counted(spaces, name, heard.hosts)
            yield TopPage(
                name, time.time_ns(), since, rates(before, after, now - at), counts.endpoints(heard.objects),
                _connections(spaces, name, heard.hosts), [*counts.events], heard.overruns,
            )  # fmt: skip
            before, at = after, now


def _counted(spaces: Namespaces, lab: str, hosts: Sequence[str]) -> dict[tuple[str, str], Sequence[int]]:
    """What interfaces counted, by host and name, but for lo."""
    found: dict[tuple[str, str], Sequence[int]] = {}
    for host in hosts:
        with suppress(OSError):  # it has just gone
            counts = packet_counts(spaces.route_socket(netns(lab, host)))
            found |= {(host, dev): one for dev, one in counts.items() if dev != "lo"}
    spaces.home()
    return found


def _connections(spaces: Namespaces, lab: str, hosts: Sequence[str]) -> dict[str, int]:
    """How many entries conntrack has, of each host that has some."""
    found = {}
    for host in hosts:
        with suppress(OSError):
            spaces.enter(netns(lab, host))
            with open(_CONNTRACK) as file:
                found[host] = int(file.read())
    spaces.home()
    return {host: number for host, number in found.items() if number}
