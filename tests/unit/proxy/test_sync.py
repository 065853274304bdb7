"""Changes one by one come to the same as everything at once, in every mode."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nslab.proxy import iptables
from nslab.proxy.mode import Part, whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
from nslab.proxy.modes import MODES, mode
from nslab.proxy.sync import LARGE, Sync, is_large
from tests.slow import often

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.ruletext.items import Items, NodeCommand

NODE = Proxy("n1", ("192.0.2.1",), cluster_cidr="10.0.0.0/16", service_cidr="10.96.0.0/16")
WEB = ServiceInfo("default", "web", "10.96.0.1", (Port("http", 80, endpoints=(Endpoint("10.0.0.1", 80),)),))
PAIR = (Port("http", 80), Port("dns", 53))
"""In userspace mode they are nothing but lines of chains that all Services share, in the order of the ports."""

ENDPOINTS = st.builds(
    Endpoint,
    st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
    st.just(8080),
    st.sampled_from(["n1", "n2"]),
    ready=st.booleans(),
    terminating=st.booleans(),
)
PORTS = st.builds(
    Port,
    st.sampled_from(["http", "dns"]),
    st.sampled_from([53, 80]),
    st.sampled_from(["TCP", "UDP"]),
    st.sampled_from([0, 30080]),
    st.lists(ENDPOINTS, max_size=3, unique_by=lambda end: end.ip).map(tuple),
)


def service(key: str) -> st.SearchStrategy[ServiceInfo]:
    """A Service; several may have the same external address."""
    return st.builds(
        ServiceInfo,
        st.just("default"),
        st.just(key),
        st.sampled_from(["", f"10.96.0.{key}"]),
        st.lists(PORTS, min_size=1, max_size=2, unique_by=lambda port: port.name).map(tuple),
        external_ips=st.sampled_from([(), ("198.51.100.1",)]),
        load_balancer_ips=st.sampled_from([(), ("203.0.113.1",)]),
        source_ranges=st.sampled_from([(), ("192.0.2.0/24",)]),
        affinity=st.sampled_from([0, 60]),
        external_local=st.booleans(),
        internal_local=st.booleans(),
    )


CHANGES = st.lists(
    st.dictionaries(st.sampled_from(["1", "2", "3"]), st.none() | st.just("new"), min_size=1, max_size=3).flatmap(
        lambda keys: st.fixed_dictionaries(
            {f"default/{key}": service(key) if new else st.none() for key, new in keys.items()}
        )
    ),
    max_size=6,
)


def apply(items: Items, old: Items, new: Items) -> Items:
    """What a kernel does that is strict: what goes or changes is there as it is said, what comes is not."""
    assert {item: items.get(item) for item in old} == old
    assert not (new.keys() - old.keys()) & items.keys()
    return {item: body for item, body in items.items() if item not in old} | new


@pytest.mark.parametrize("name", MODES)
@given(changes=CHANGES)
@example(changes=[{WEB.key: replace(WEB, ports=ports)} for ports in (PAIR, PAIR[::-1])])
@settings(max_examples=often(60), deadline=None)
def test_increments_come_to_the_whole(name: str, changes: list[Mapping[str, ServiceInfo | None]]) -> None:
    module, proxy = mode(name), replace(NODE, mode=name)
    sync, items, services = Sync(module, proxy), {}, {}
    for changed in ({}, *changes):
        old, new = sync.change(changed)
        assert all(old.get(item) != body for item, body in new.items())
        items = apply(items, old, new)
        services = {key: one for key, one in {**services, **changed}.items() if one is not None}
        assert sync.services == services
        assert items == sync.items() == whole(module, [services[key] for key in sorted(services)], proxy)


def test_nothing_changed_is_nothing() -> None:
    sync = Sync(iptables, NODE)
    assert sync.change({WEB.key: WEB})[1] == whole(iptables, [WEB], NODE)
    assert sync.change({WEB.key: WEB}) == ({}, {})
    assert sync.change({"default/nobody": None}) == ({}, {})
    assert sync.change({}) == ({}, {})


def test_more_endpoints_than_comments_are_for() -> None:
    many = replace(
        WEB,
        name="many",
        cluster_ip="10.96.0.2",
        ports=(Port("http", 80, endpoints=tuple(Endpoint(f"10.0.{n // 250}.{n % 250}", 80) for n in range(LARGE))),),
    )
    assert not is_large([many])
    assert is_large([many, WEB])
    assert not is_large([many, replace(WEB, cluster_ip="")])
    sync = Sync(iptables, NODE)
    items: Items = {}
    for changed, large in (({many.key: many}, False), ({WEB.key: WEB}, True), ({WEB.key: None}, False)):
        items = apply(items, *sync.change(changed))
        assert sync.proxy.large is large
        assert items == whole(iptables, sync.services.values(), replace(NODE, large=large))


class Counting:
    """iptables mode, and how often it was asked."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.frames = 0

    def part(self, service: ServiceInfo, proxy: Proxy) -> Part:
        self.parts.append(service.key)
        return iptables.part(service, proxy)

    def frame(self, parts: Iterable[Part], proxy: Proxy) -> Items:
        self.frames += 1
        return iptables.frame(parts, proxy)

    def commands(self, old: Items, new: Items, proxy: Proxy) -> tuple[NodeCommand, ...]:
        return iptables.commands(old, new, proxy)


def test_one_endpoint_more_costs_one_service() -> None:
    services = {
        one.key: one for one in (replace(WEB, name=f"web-{n:03}", cluster_ip=f"10.96.1.{n}") for n in range(99))
    }
    counting = Counting()
    sync = Sync(counting, NODE)
    sync.change(services)
    assert (len(counting.parts), counting.frames) == (99, 1)
    counting.parts.clear()
    one = services["default/web-007"]
    more = replace(one, ports=(replace(one.ports[0], endpoints=(*one.ports[0].endpoints, Endpoint("10.0.0.2", 80))),))
    old, new = sync.change({one.key: more})
    assert (counting.parts, counting.frames) == (["default/web-007"], 1)
    assert (len(old), len(new)) == (1, 2)
    sync.change({one.key: None})
    assert (counting.parts, counting.frames) == (["default/web-007"], 2)
