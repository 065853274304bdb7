"""What the page of `top` counts and says."""

from __future__ import annotations

from nslab.trace.lab_events.objects import EndpointSeen, ObjectsSeen
from nslab.trace.lab_events.page import EndpointHits, LinkRate, TopCounts, TopPage, rates
from nslab.trace.lab_events.values import EventAction, EventKind, LabEvent
from nslab.views import top as view

SERVICE, POD = "default/web:http", "10.1.0.1:80"


def connection(dnat: str, action: EventAction = EventAction.NEW) -> LabEvent:
    return LabEvent(0, "node1", EventKind.CONNECTION, action, f"tcp -> {dnat}", {"service": SERVICE, "dnat": dnat})


def test_rates_are_of_a_second_and_the_busiest_come_first() -> None:
    before = {("a", "eth0"): (10, 10, 100, 100), ("b", "eth0"): (0, 0, 0, 0)}
    after = {("a", "eth0"): (12, 10, 300, 100), ("b", "eth0"): (20, 0, 0, 0), ("c", "eth0"): (9, 9, 9, 9)}
    assert rates(before, after, 2.0) == [
        LinkRate("b", "eth0", 10, 0, 0, 0), LinkRate("a", "eth0", 1, 0, 100, 0), LinkRate("c", "eth0", 0, 0, 0, 0)
    ]  # fmt: skip
    assert rates(after, before, 1.0)[0].packets_in == 0  # made again: its counters began anew


def test_connections_count_where_they_are_new() -> None:
    counts = TopCounts()
    counts.add([connection(POD), connection(POD), connection(POD, EventAction.DESTROYED), connection("10.1.0.9:80")])
    counts.add([LabEvent(0, "node1", EventKind.CONNECTION, EventAction.NEW, "to a pod", {"dnat": POD})])
    known = ObjectsSeen(
        {}, {(SERVICE, POD): EndpointSeen("default/web-1", True, False), (SERVICE, "x"): EndpointSeen("", True, False)}
    )
    assert counts.endpoints(known) == [
        EndpointHits(SERVICE, POD, "default/web-1", 2), EndpointHits(SERVICE, "10.1.0.9:80", "", 1),
        EndpointHits(SERVICE, "x", "", 0),
    ]  # fmt: skip


def page(**more: object) -> TopPage:
    ends = [EndpointHits(SERVICE, POD, "default/web-1", 3), EndpointHits(SERVICE, "10.1.0.2:80", "shop/web-2", 1)]
    links = [LinkRate("node1", "eth0", 1234.0, 5.0, 1e6, 2e6), LinkRate("kube-system_kube-dns", "eth0", 0, 0, 0, 0)]
    events = [connection("first"), connection("la\x1b[31mst")]
    values = {
        "lab": "lab",
        "at": 0,
        "since": 0,
        "links": links,
        "endpoints": ends,
        "connections": {"node2": 3, "node1": 7},
    }
    return TopPage(**{**values, "events": events, **more})  # type: ignore[arg-type]


def test_shortened_names_of_one_deployments_pods_differ() -> None:
    pods = [LinkRate(f"web-n5r72thkdj-{end}", "eth0", 1, 1, 1, 1) for end in ("2szxs", "bllbt")]
    names = [line.split()[0] for line in view.links(page(links=pods))][1:]
    assert names == ["web-n5r7…j-2szxs:eth0", "web-n5r7…j-bllbt:eth0"]


def test_the_parts_as_text() -> None:
    assert view.head(page()).endswith("conntrack: node1 7  node2 3")
    assert view.head(page(connections={}, overruns=2)).endswith("conntrack: nothing   2 overruns")
    assert [*view.links(page())] == [
        "INTERFACE              IN/s OUT/s   B/s",
        "node1:eth0             1.2k     5  3.0M",
        "kube-sys…ube-dns:eth0     0     0     0",
    ]
    assert [*view.services(page())] == [
        "default/web:http  4",
        "   3  75% web-1 10.1.0.1:80",
        "   1  25% shop/web-2 10.1.0.2:80",
    ]


def test_the_newest_event_is_first_and_harmless() -> None:
    last, first = view.events(page())
    assert first.endswith("node1 connection new: tcp -> first")
    assert "\x1b" not in last


def test_numbers_are_short() -> None:
    assert [*map(view.short, (0, 9, 999, 1000, 12345, 5.6e6, 7e12))] == [
        "0",
        "9",
        "999",
        "1.0k",
        "12k",
        "5.6M",
        "7000G",
    ]
