"""Runs the probes of `nslab.probes`: packets from every namespace at once, from one thread.

Each host of the lab gets a raw socket for echoes, a UDP socket that asks and one that answers, and a TCP listener. A
packet carries its probe's number, so the prober knows both ends of every conversation: what a target received, and
from whom, even if the answer gets lost. The host's own kernel answers echoes, as always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.linux.netlink.neighbours import forget, forget_unresolved
from nslab.linux.netns import named
from nslab.linux.prober.round import Round
from nslab.linux.prober.talk import DEFAULT
from nslab.objects.names import SWITCH, netns
from nslab.probes import Expected, Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nslab.linux.netns import Namespaces
    from nslab.linux.prober.talk import Timing
    from nslab.probes import Probe, ProbeHost, Result

_WAVE = 128  # pairs; each needs up to six neighbours, there and back
_AT_ONCE = 1000  # so many probes need no waves: a lab of some dozen hosts


def ask(
    spaces: Namespaces,
    lab: str,
    places: Iterable[ProbeHost],
    probes: Sequence[Probe],
    timing: Timing = DEFAULT,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Result]:
    """Run the probes and return their results in the same order.

    A probe without an answer runs again before it counts as failed. Many probes run in waves; after each wave the
    neighbour entries are deleted, because the kernel has one small table for the whole machine.
    """
    everybody = [*places]
    forget_unresolved(spaces, named(lab))
    spaces.home()
    results = _in_waves(spaces, lab, everybody, probes, timing, progress)
    doubtful = [at for at, result in enumerate(results) if _is_doubtful(result)]
    again = _in_waves(spaces, lab, everybody, [probes[at] for at in doubtful], timing, progress, alone=True)
    for at, result in zip(doubtful, again, strict=True):
        results[at] = result
    return results


def _in_waves(
    spaces: Namespaces,
    lab: str,
    places: Sequence[ProbeHost],
    probes: Sequence[Probe],
    timing: Timing,
    progress: Callable[[int, int], None],
    *,
    alone: bool = False,
) -> list[Result]:
    results: list[Result] = []
    waves = [*_waves(probes)]
    for wave in waves:
        results += _asked(spaces, lab, places, wave, timing, alone=alone)
        progress(len(results), len(probes))
        if len(waves) > 1:
            hosts = {name for probe in wave for name in probe.pair} | {p.name for p in places if p.role == "node"}
            existing = {*named(lab)} & {netns(lab, name) for name in (*hosts, SWITCH)}
            forget(spaces, sorted(existing))
            spaces.home()
    return results


def _asked(
    spaces: Namespaces,
    lab: str,
    places: Sequence[ProbeHost],
    probes: Sequence[Probe],
    timing: Timing,
    *,
    alone: bool,
) -> list[Result]:
    asking = Round(spaces, lab, timing, probes, alone=alone)
    try:
        asking.open(places)
        return asking.results()
    finally:
        asking.close()
        spaces.home()


def _is_doubtful(result: Result) -> bool:
    """Whether the result might differ with fewer probes at a time."""
    if result.probe.expected is Expected.FAIL:
        return False
    turned_away = result.probe.kind is Kind.TCP and result.outcome in (Outcome.REFUSED, Outcome.ENDED)
    return turned_away or result.outcome is Outcome.TIMED_OUT


def _waves(probes: Sequence[Probe]) -> Iterator[Sequence[Probe]]:
    """Slices of the probes, each with so few pairs that their neighbours fit the kernel's table."""
    begin, pairs = 0, set[tuple[str, str]]()
    for index, probe in enumerate(probes):
        if probe.pair not in pairs and len(pairs) == _WAVE and len(probes) > _AT_ONCE:
            yield probes[begin:index]
            begin, pairs = index, set()
        pairs.add(probe.pair)
    if probes:
        yield probes[begin:]
