"""The difference after a change of some Services, in time proportional to the change, not to the total."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.proxy.mode import Part

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nslab.proxy.mode import Mode
    from nslab.proxy.model import Proxy, ServiceInfo
    from nslab.ruletext.items import Body, Item, Items

LARGE = 1000
"""With more endpoints than this, kube-proxy omits comments from their rules."""
_NOTHING = Part({})


def endpoints(service: ServiceInfo) -> int:
    """kube-proxy's count of a Service's endpoints: of all ports, ready or not; 0 for a Service without an address."""
    return sum(len(port.endpoints) for port in service.ports) if service.cluster_ip else 0


def is_large(services: Iterable[ServiceInfo]) -> bool:
    """Whether there are so many endpoints that kube-proxy omits comments."""
    return sum(map(endpoints, services)) > LARGE


class Sync:
    """All Services of one node, and a mode's items for them. It starts empty, even without the mode's frame."""

    def __init__(self, mode: Mode, proxy: Proxy) -> None:
        """`proxy.large` is ignored: Sync counts the endpoints itself."""
        self._mode = mode
        self.proxy = replace(proxy, large=False)
        self._services: dict[str, ServiceInfo] = {}
        self._endpoints = 0
        self._parts: dict[str, Part] = {}
        self._frame: Items = {}
        self._owners: dict[Item, tuple[str, ...]] = {}
        self._begun = False

    @property
    def services(self) -> Mapping[str, ServiceInfo]:
        """The Services by key."""
        return self._services

    def items(self) -> Items:
        """All items of the mode now, equal to `whole()`."""
        items = dict(self._frame)
        for key in sorted(self._parts):
            items.update(self._parts[key].own)
        return items

    def change(self, changed: Mapping[str, ServiceInfo | None]) -> tuple[Items, Items]:
        """Apply changed Services by key (None: deleted). Returns the items that differ, before and now.

        The first call also adds the frame, even without any Service.
        """
        if not self._begun:
            return {}, self._first(changed)
        parts, resized = self._parted(changed)
        shared = resized
        before: dict[Item, Body | None] = {}
        for key, part in parts.items():
            was = self._parts.get(key, _NOTHING)
            shared = shared or [*was.lines.items()] != [*part.lines.items()]  # the order of rules matters
            for item in (*was.own, *part.own):
                if item not in before and was.own.get(item) != part.own.get(item):
                    before[item] = self._body(item)
        for key, part in parts.items():
            self._put(key, part)
        before = {**(self._reframed(before) if shared else {}), **before}
        now = {item: self._body(item) for item in before}
        return (
            {item: body for item, body in before.items() if body is not None and body != now[item]},
            {item: body for item, body in now.items() if body is not None and body != before[item]},
        )

    def _first(self, changed: Mapping[str, ServiceInfo | None]) -> Items:
        """All items, at the first call."""
        # All the new objects stay: the garbage collector would visit them many times and find nothing.
        collects = gc.isenabled()
        gc.disable()
        try:
            parts, _ = self._parted(changed)
            for key, part in parts.items():
                self._put(key, part)
            self._frame = self._mode.frame([self._parts[key] for key in sorted(self._parts)], self.proxy)
            self._begun = True
            return self.items()
        finally:
            if collects:
                gc.enable()

    def _parted(self, changed: Mapping[str, ServiceInfo | None]) -> tuple[dict[str, Part], bool]:
        """The new parts of the changed Services, or of all if the count crossed LARGE; and whether it did."""
        changed = {key: service for key, service in changed.items() if service != self._services.get(key)}
        for key, service in changed.items():
            was = self._services.pop(key, None)
            self._endpoints += (endpoints(service) if service else 0) - (endpoints(was) if was else 0)
            if service:
                self._services[key] = service
        resized = self.proxy.large != (self._endpoints > LARGE)
        if resized:
            self.proxy = replace(self.proxy, large=not self.proxy.large)
            changed = {**changed, **self._services}
        part, proxy = self._mode.part, self.proxy
        return {key: part(service, proxy) if service else _NOTHING for key, service in changed.items()}, resized

    def _put(self, key: str, part: Part) -> None:
        was = self._parts.pop(key, _NOTHING)
        for item in was.own:
            if item not in part.own:
                if left := tuple(owner for owner in self._owners[item] if owner != key):
                    self._owners[item] = left
                else:
                    del self._owners[item]
        mine = (key,)
        for item in part.own:
            if item not in was.own:
                self._owners[item] = tuple(sorted((*self._owners[item], key))) if item in self._owners else mine
        if part is not _NOTHING:
            self._parts[key] = part

    def _reframed(self, before: Mapping[Item, Body | None]) -> dict[Item, Body | None]:
        """Renew the frame; return the old bodies of its items that differ."""
        was, new = self._frame, self._mode.frame([self._parts[key] for key in sorted(self._parts)], self.proxy)
        differ = [item for item in {**new, **was} if was.get(item) != new.get(item)]
        found = {item: before[item] if item in before else self._body(item) for item in differ}
        self._frame = new
        return found

    def _body(self, item: Item) -> Body | None:
        """An item's present body. If several Services own it, the last one decides, as in `whole()`."""
        owners = self._owners.get(item)
        return self._parts[owners[-1]].own[item] if owners else self._frame.get(item)
