"""Interfaces: their state, their attributes, and unmanaged ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.linux.observe.place import FALLBACK
from nslab.objects import link_settings, ports
from nslab.objects.unmanaged import Unmanaged
from nslab.quote import fill

if TYPE_CHECKING:
    from nslab.linux.observe.place import Found, ObservedNamespace


def states(place: ObservedNamespace) -> Found:
    """Which interfaces are up, and the bridge of each."""
    return ports.seen(place.ns, place.ours - {"lo"}, place.interfaces), ()


def attributes(place: ObservedNamespace) -> Found:
    """Changed queue lengths, flags, and options of bridge ports."""
    return link_settings.changed(place.ns, place.ours, place.interfaces), ()


def programs(place: ObservedNamespace) -> Found:
    """XDP programs, which see packets before the network stack does."""
    return (), [
        Unmanaged(place.ns, f"XDP program {link.xdp} on {name}", (fill("ip link set {} {} off", name, link.xdp_mode),))
        for name, link in sorted(place.interfaces.items())
        if link.xdp
    ]


def others(place: ObservedNamespace) -> Found:
    """Unmanaged interfaces."""
    names = place.interfaces.keys() - place.ours - place.plugins - FALLBACK
    return (), [Unmanaged(place.ns, f"interface {name}", (fill("ip link del {}", name),)) for name in sorted(names)]
