"""What happens in a lab, in Kubernetes' terms: connections, pods, endpoints, rules."""

from __future__ import annotations

from ipaddress import IPv4Address
from itertools import pairwise

from nslab.proxy.model import Endpoint, Port, ServiceInfo
from nslab.trace.counted.names import service_names
from nslab.trace.lab_events.connections import connection_event
from nslab.trace.lab_events.names import EventNames
from nslab.trace.lab_events.objects import EndpointSeen, ObjectsSeen, PodSeen, object_events
from nslab.trace.lab_events.rules import RuleChange, rule_events
from nslab.trace.lab_events.values import EventAction, EventKind
from nslab.trace.observed import ConntrackEntry, Header
from nslab.views.lab_events import event_json, event_line

CLIENT, VIP, POD, NODE = map(IPv4Address, ("10.1.1.9", "10.96.0.5", "10.1.0.1", "192.168.0.1"))
WEB = ServiceInfo(
    "default", "web", "10.96.0.5", (Port("http", 80, node_port=31080, endpoints=(Endpoint("10.1.0.1", 8080),)),)
)
NAMES = EventNames({"10.1.1.9": "curl", "10.1.0.1": "web-1", "192.168.0.1": "node1"}, {}, service_names((WEB,)))


def header(source: IPv4Address, sport: int, target: IPv4Address, dport: int) -> Header:
    return Header(source, target, 6, (sport, dport))


def test_a_connection_to_a_service() -> None:
    entry = ConntrackEntry("node1", header(CLIENT, 40000, VIP, 80), header(POD, 8080, CLIENT, 40000))
    event = connection_event(0, entry, NAMES, destroyed=False)
    assert event.text == (
        "tcp curl 10.1.1.9:40000 -> Service default/web:http 10.96.0.5:80, DNAT to web-1 10.1.0.1:8080"
    )
    assert event_line(event, 5).endswith(f" node1 connection new       {event.text}")
    assert event_json(event) == {
        "time": 0.0, "host": "node1", "kind": "connection", "action": "new", "text": event.text, "protocol": "tcp",
        "source": "10.1.1.9:40000", "target": "10.96.0.5:80", "dnat": "10.1.0.1:8080", "service": "default/web:http",
    }  # fmt: skip


def test_a_connection_that_is_masqueraded_ends() -> None:
    entry = ConntrackEntry("node1", header(CLIENT, 40000, NODE, 31080), header(POD, 8080, NODE, 40000))
    event = connection_event(0, entry, NAMES, destroyed=True)
    assert event.action is EventAction.DESTROYED
    assert event.text == (
        "tcp curl 10.1.1.9:40000 -> Service default/web:http 192.168.0.1:31080, DNAT to web-1 10.1.0.1:8080, "
        "SNAT to node1 192.168.0.1"
    )


def seen(pods: dict[str, PodSeen], **ends: EndpointSeen) -> ObjectsSeen:
    return ObjectsSeen(pods, {("default/web:http", key): end for key, end in ends.items()})


def test_what_a_pod_becomes() -> None:
    began = PodSeen("node1", "10.1.0.1", "Pending", False, False, 0, ("app ContainerCreating",))
    runs = began._replace(phase="Running", ready=True, reasons=())
    fails = runs._replace(ready=False, restarts=1, reasons=("app CrashLoopBackOff",))
    goes = fails._replace(terminating=True)
    steps = [
        {},
        {"default/web-1": began},
        {"default/web-1": runs},
        {"default/web-1": fails},
        {"default/web-1": goes},
        {},
    ]
    told = [
        (event.action.value, event.text)
        for before, after in pairwise(steps)
        for event in object_events(0, seen(before), seen(after))
    ]
    assert told == [
        ("added", "default/web-1 10.1.0.1, Pending, container app ContainerCreating"),
        ("changed", "default/web-1 10.1.0.1, Running, ready"),
        ("changed", "default/web-1 10.1.0.1, not ready, restarted (1), container app CrashLoopBackOff"),
        ("changed", "default/web-1 10.1.0.1, terminating"),
        ("removed", "default/web-1 10.1.0.1"),
    ]


def test_what_an_endpoint_becomes() -> None:
    ready, unready = EndpointSeen("default/web-1", True, False), EndpointSeen("default/web-1", False, False)
    steps = [seen({}), seen({}, a=unready), seen({}, a=ready), seen({}, a=ready), seen({})]
    told = [
        (event.kind, event.action.value, event.text)
        for before, after in pairwise(steps)
        for event in object_events(0, before, after)
    ]
    assert told == [
        (EventKind.ENDPOINT, "added", "default/web:http: a default/web-1, not ready"),
        (EventKind.ENDPOINT, "changed", "default/web:http: a default/web-1, ready"),
        (EventKind.ENDPOINT, "removed", "default/web:http: a default/web-1"),
    ]


def test_rules_that_are_only_written_again_are_no_news() -> None:
    kept, new = (
        '-m comment --comment "default/web:http" -j ACCEPT',
        '-m comment --comment "default/web:http -> x" -j DROP',
    )
    told = [
        RuleChange("nat", "KUBE-SVC", kept, False),
        RuleChange("nat", "KUBE-SVC", kept, True),
        RuleChange("nat", "KUBE-SVC", new, True),
    ]
    (event,) = rule_events(0, "node1", told, NAMES.services)
    assert (event.action, event.text) == (EventAction.ADDED, "nat KUBE-SVC: -j DROP  # default/web:http -> x")
    assert event.facts["service"] == "default/web:http"
    (gone,) = rule_events(0, "node1", [RuleChange("t", "c", "", False)], NAMES.services)
    assert (gone.action, gone.text) == (EventAction.REMOVED, "t c: ?")
