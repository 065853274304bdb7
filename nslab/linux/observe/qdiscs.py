"""Traffic control: queueing disciplines, classes and filters. No lab makes any; the kernel's own have no number."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from nslab.linux.netlink import batch as netlink
from nslab.objects.unmanaged import Unmanaged
from nslab.quote import fill
from nslab.wire import netlink as wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.linux.observe.place import Found, ObservedNamespace

_TC = struct.Struct("=BxxxiIII")
_TCA_KIND = 1
_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_CLASSFUL = {"htb", "hfsc", "drr", "qfq"}
"""Those whose classes somebody makes; others (prio, tbf) have their own from the start."""
_HOOKS = {0xFFFFFFF2: "ingress", 0xFFFFFFF3: "egress"}


def qdiscs(place: ObservedNamespace) -> Found:
    """Queueing disciplines that replace the kernel's own, with their filters and classes."""
    found = []
    for body in [*netlink.dump(place.sock, wire.GETQDISC, _TC.pack(0, 0, 0, 0, 0))]:
        _, index, handle, parent, _ = _TC.unpack_from(body)
        if handle:
            kind = _kind(body)
            dev = place.names.get(index, "")
            found += [*_filters(place, index, dev, kind, handle), *_classes(place, index, dev, kind, handle)]
            found.append(_qdisc(place.ns, dev, kind, handle, parent))
    return (), found


def _qdisc(ns: str, dev: str, kind: str, handle: int, parent: int) -> Unmanaged:
    where = "root" if parent == _ROOT else kind if parent == _INGRESS else f"parent {_number(parent)}"
    shown = f"qdisc {kind} {_number(handle)} dev {dev}" + ("" if parent == _INGRESS else f" {where}")
    return Unmanaged(ns, shown, (fill("tc qdisc del dev {} ", dev) + where,))


def _classes(place: ObservedNamespace, index: int, dev: str, kind: str, handle: int) -> Iterator[Unmanaged]:
    """The classes of a qdisc; they go with it."""
    if kind not in _CLASSFUL:
        return
    for body in netlink.dump(place.sock, wire.GETTCLASS, _TC.pack(0, index, 0, 0, 0)):
        _, _, number, _, _ = _TC.unpack_from(body)
        if number >> 16 == handle >> 16:
            yield Unmanaged(place.ns, fill("class {} {} dev {}", kind, _number(number), dev))


def _filters(place: ObservedNamespace, index: int, dev: str, kind: str, handle: int) -> Iterator[Unmanaged]:
    """A line for each filter of a qdisc. Ingress and clsact have no classes, but hooks."""
    hooks = {"clsact": _HOOKS, "ingress": {0xFFFF0000: "ingress"}}.get(kind, {handle: f"parent {_number(handle)}"})
    for parent, hook in hooks.items():
        shown = set()
        for body in netlink.dump(place.sock, wire.GETTFILTER, _TC.pack(0, index, 0, parent, 0)):
            *_, info = _TC.unpack_from(body)
            shown.add((info >> 16, _kind(body)))
        for preference, classifier in sorted(shown):
            at = fill("dev {} ", dev) + f"{hook} pref {preference}"
            yield Unmanaged(place.ns, f"filter {classifier} {at}", (f"tc filter del {at}",))


def _kind(body: bytes) -> str:
    return wire.attributes(body, _TC.size)[_TCA_KIND].rstrip(b"\0").decode()


def _number(handle: int) -> str:
    """A handle or class as tc(8) writes it."""
    return f"{handle >> 16:x}:{handle & 0xFFFF or '':{'x' if handle & 0xFFFF else ''}}"
