"""`trace` in the shipped labs: who should be reached is, hop by hop, and as `--predict` computes it from the State."""

from __future__ import annotations

import os
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from nslab import probes
from nslab.app.change import configure
from nslab.app.predict import predict
from nslab.app.trace import tracing
from nslab.lab.find import names
from nslab.lab.types import Encapsulation, ProxyMode
from nslab.linux.netns import Namespaces
from nslab.linux.observe.host import read_host
from nslab.linux.stored_lab import stored_lab
from nslab.probes import LOOPBACK, Expected, Kind, Outcome
from nslab.trace.authors import BY_HAND
from nslab.trace.deviation import comparable, key
from nslab.trace.hops import Action, End
from tests.kernel.labkit import OwnLab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nslab.lab.types import Lab
    from nslab.trace.hops import Hop, Journey

TRANSLATIONS = (Action.DNAT, Action.SNAT, Action.REVERSE_DNAT, Action.REVERSE_SNAT)
SLOW = os.environ.get("NSLAB_SLOW") == "1"
LABS = (
    [name for name in names() if not name.startswith("by-hand")]
    if SLOW
    else ["flannel-two-node", "calico-cross-subnet"]
)
EACH = 1 if SLOW else 9
"""One question in so many is asked."""
OTHERWISE = (
    [
        *(("calico-two-node", "encapsulation", str(one)) for one in Encapsulation),
        *(("calico-cross-subnet", "encapsulation", str(one)) for one in Encapsulation),
        *(("external-traffic", "proxy-mode", mode) for mode in ("nftables", "userspace")),
        *(("kubenet-two-node", "proxy-mode", mode) for mode in ("nftables", "userspace")),
        *(("node-port", "proxy-mode", mode) for mode in ("nftables", "userspace")),
    ]
    if SLOW
    else [("calico-cross-subnet", "encapsulation", "VXLANCrossSubnet")]
)
"""A lab, and what is set otherwise in it."""


def faults(journey: Journey, *, reach: bool) -> Iterator[str]:
    """What cannot be true of a journey in a lab that is as it should be."""
    delivered = journey.end in (End.DELIVERED, End.REFUSED)
    if delivered is not reach:
        yield f"{journey.end} instead of {'delivered' if reach else 'lost'}: {journey.why}"
    for reply in (False, True):
        every = [hop for hop in journey.hops if hop.reply is reply]
        yield from (fault for one, two in pairwise(every) for fault in _between(one, two))
        for hop in every:
            if hop.by == BY_HAND:
                yield f"{hop.host} {hop.action}: by {hop.by}: {hop.cause}"
            if not reply and hop.action in TRANSLATIONS and not hop.matches:
                yield f"{hop.host} {hop.action}: no rule"
        if journey.end is End.DELIVERED and Action.RECEIVE not in [hop.action for hop in every[-2:]]:
            yield f"{every[-1].host} {every[-1].action} is the last"


def _between(one: Hop, two: Hop) -> Iterator[str]:
    before = two.before or two.header
    if one.header.ends != before.ends:
        yield f"{one.host} {one.action} leaves {one.header}, and {two.host} {two.action} gets {before}"
    if not one.header.ttl - 1 <= two.header.ttl <= one.header.ttl:
        yield f"{one.host} {one.action} has TTL {one.header.ttl}, and {two.host} {two.action} {two.header.ttl}"


def questions(lab: Lab) -> Iterator[tuple[str, str, Kind, bool]]:
    """Who asks whom, and whether that should be delivered: pairs of hosts, and calls of Services."""
    with Namespaces() as spaces:
        host = read_host(spaces)
    for probe in probes.survey(lab, host, (), ()).probes:
        if probe.kind is Kind.ICMP and probe.address != LOOPBACK:
            yield probe.source, f"{probe.address}", probe.kind, probe.expected is Expected.REACH
        elif probe.kind is Kind.TCP and probe.port:
            yield probe.source, f"{probe.address}:{probe.port}", probe.kind, probe.expected is Expected.REACH
    services = probes.survey_services(lab, host, ())
    for call in services.calls if services else ():
        if call.addresses and call.protocol != "SCTP" and not call.lost:
            kind = Kind.UDP if call.protocol == "UDP" else Kind.TCP
            # kube-proxy takes every connection itself in userspace mode, and ends it if there is no endpoint.
            reach = call.outcome is Outcome.REACHED or lab.proxy_mode is ProxyMode.USERSPACE
            yield call.source, f"{call.addresses[0]}:{call.port}", kind, reach


def _agree(journey: Journey, predicted: Journey) -> bool:
    seen, computed = comparable(journey, predicted)
    return (_end(journey), [*map(key, seen)]) == (_end(predicted), [*map(key, computed)])


def _end(journey: Journey) -> End:
    """Linux sends few ICMP errors a second, so one that is missing proves nothing."""
    return End.LOST if journey.end is End.UNREACHABLE else journey.end


CASES = [*((name, "", "") for name in LABS), *OTHERWISE]


@pytest.mark.parametrize(("shipped", "setting", "value"), CASES, ids=[" ".join(filter(None, one)) for one in CASES])
def test_each_hop_begins_where_the_last_one_ended(shipped: str, setting: str, value: str, tmp_path: Path) -> None:
    lab = OwnLab(tmp_path, shipped)
    lab.up_here()
    if setting:
        configure(lab.name, {setting: value})
    wrong = []
    try:
        asked = [*dict.fromkeys(questions(stored_lab(lab.name)))][::EACH]
        with tracing(lab.name) as tracer:
            for source, to, kind, reach in asked:
                journey = tracer.trace(source, to, kind)
                wrong += [f"{source} to {to} {kind}: {fault}" for fault in faults(journey, reach=reach)]
                if not any(_agree(journey, one) for one in predict(lab.name, source, to, kind)):
                    wrong.append(f"{source} to {to} {kind}: not as predicted")
                if journey.deviation:
                    wrong.append(f"{source} to {to} {kind}: {journey.deviation}")
    finally:
        lab.clear()
    assert wrong == [], f"{len(wrong)} of {len(asked)} questions"
