"""Settings under /proc/sys/net: the lab's, and those that are not as a new namespace has them."""

from __future__ import annotations

import os
import re
import struct
from typing import TYPE_CHECKING

from nslab.objects import sysctl

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.linux.observe.place import Found, ObservedNamespace, Settings
    from nslab.objects.base import KernelObject
    from nslab.objects.interfaces import Interface

FOLDERS = {
    "net/ipv4": (
        "ip_|icmp_|fwmark|fib_multipath_(hash_policy|use)|ping_group|raw_l3mdev|ipfrag_|udp_(?!hash|child)"
        "|tcp_(?!available|allowed|ehash|child|fastopen_key)"
    ),
    "net/ipv4/route": "min_|mtu_expires",
    "net/ipv4/conf/all": "(?!forwarding|igmp|force_igmp|mc_|tag|medium|bootp)",
    "net/ipv4/conf/default": "(?!forwarding|igmp|force_igmp|mc_|tag|medium|bootp)",
    "net/ipv4/neigh/default": "proxy_|gc_stale|base_reachable_time_ms|.*cast_solicit",
    "net/ipv4/vs": "",
    "net/ipv6": "ip_|bindv6only|fwmark",
    "net/ipv6/conf/all": "forwarding|disable_ipv6|accept_ra$|accept_redirects|proxy_ndp",
    "net/ipv6/conf/default": "disable_ipv6|accept_ra$|accept_redirects|proxy_ndp",
    "net/bridge": "",
    "net/netfilter": "nf_conntrack_(?!count|buckets|max$|expect_max)|nf_flowtable_",
    "net/core": "",
}
"""Where settings are that a namespace has once, and those that matter to packets: how names begin.

What changes by itself or follows another setting is left out, and what the whole machine has once (the size of
conntrack's table). Settings of single interfaces come with the interfaces.
"""
_FOLDERS = {folder: re.compile(pattern) for folder, pattern in FOLDERS.items()}

CONF = dict(
    enumerate(
        (
            "forwarding", "mc_forwarding", "proxy_arp", "accept_redirects", "secure_redirects", "send_redirects",
            "shared_media", "rp_filter", "accept_source_route", "bootp_relay", "log_martians", "tag", "arp_filter",
            "medium_id", "disable_xfrm", "disable_policy", "force_igmp_version", "arp_announce", "arp_ignore",
            "promote_secondaries", "arp_accept", "arp_notify", "accept_local", "src_valid_mark", "proxy_arp_pvlan",
            "route_localnet", "igmpv2_unsolicited_report_interval", "igmpv3_unsolicited_report_interval",
            "ignore_routes_with_linkdown", "drop_unicast_in_l2_multicast", "drop_gratuitous_arp", "bc_forwarding",
            "arp_evict_nocarrier",
        )
    )
)  # fmt: skip
"""The kernel's order of an interface's settings (enum in linux/ip.h)."""
CONF6 = {0: "forwarding", 3: "accept_ra", 4: "accept_redirects", 22: "proxy_ndp", 26: "disable_ipv6"}
"""Those that matter of IPv6 (enum in linux/ipv6.h)."""


def paths() -> list[str]:
    """The settings that this thread's namespace has once."""
    found = []
    for folder, pattern in _FOLDERS.items():
        try:
            found += [f"{folder}/{name}" for name in os.listdir(f"/proc/sys/{folder}") if pattern.match(name)]
        except OSError:  # its module is not loaded
            continue
    return sorted(path for path in found if not os.path.isdir(f"/proc/sys/{path}"))


def read_settings(names: Iterable[str]) -> dict[str, str]:
    """The texts of settings in this thread's namespace; those that cannot be read are left out."""
    # Opened once: whoever looks for `net` in /proc/sys passes the `net` of each namespace of the machine.
    net = os.open("/proc/sys/net", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return {name: text for name in names if (text := _text(net, name.removeprefix("net/"))) is not None}
    finally:
        os.close(net)


def _text(net: int, path: str) -> str | None:
    """A setting's text; None, if its interface is gone, or it can only be written."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=net)
    except OSError:
        return None
    try:
        return os.read(descriptor, 1 << 12).decode().strip()
    except OSError:
        return None
    finally:
        os.close(descriptor)


def settings(place: ObservedNamespace) -> Found:
    """The lab's settings, and the other settings that have changed, if these were read."""
    ours = sysctl.paths(place.known)
    found: list[KernelObject] = [*sysctl.seen(place.known, read_settings(ours).get)]
    if place.ns in place.settings:
        found += (*_of_namespace(place, ours), *_of_interfaces(place, ours))
    return found, ()


def _of_namespace(place: ObservedNamespace, ours: set[str]) -> Iterator[KernelObject]:
    here, fresh = place.settings[place.ns], place.fresh.settings
    for path, value in here.items():
        if value == fresh.get(path, value) or path in ours or _follows(path, here) or _alike(place, path):
            continue
        yield sysctl.changed(place.ns, path, value, fresh[path])


def _follows(path: str, here: Settings) -> bool:
    """Whether it is a setting that the kernel changes together with another."""
    if path == "net/ipv4/conf/all/accept_redirects":
        return here[path] == str(int(here.get("net/ipv4/ip_forward") == "0"))
    return False


def _alike(place: ObservedNamespace, path: str) -> bool:
    """Whether all of the lab's namespaces have one value: the machine had another when they were made."""
    return len(place.settings) > 1 and len({found.get(path) for found in place.settings.values()}) == 1


def _of_interfaces(place: ObservedNamespace, ours: set[str]) -> Iterator[KernelObject]:
    here, fresh = place.settings[place.ns], place.fresh
    for family, numbers in (("ipv4", CONF), ("ipv6", CONF6)):
        alike: dict[tuple[bytes, bool], list[tuple[str, str, str]]] = {}
        for dev in place.ours:
            # Most interfaces have the same settings, which are looked at once.
            conf, loopback = _conf(place.interfaces[dev], family), dev == "lo"
            if (conf, loopback) not in alike:
                first = _conf(fresh.interfaces["lo"], family) if loopback else b""
                alike[conf, loopback] = [*_differing(conf, first, family, numbers, here, fresh.settings)]
            for name, value, wanted in alike[conf, loopback]:
                if (path := f"net/{family}/conf/{dev}/{name}") not in ours:
                    yield sysctl.changed(place.ns, path, value, wanted)


def _differing(
    conf: bytes, first: bytes, family: str, numbers: Mapping[int, str], here: Settings, fresh: Settings
) -> Iterator[tuple[str, str, str]]:
    """Name, value and value from the start of what is not as an interface has it of itself. `first`: a new lo's."""
    beginning = _values(first)
    for number, value in enumerate(_values(conf)):
        if name := numbers.get(number):
            wanted = _wanted(name, family, here, fresh)
            if beginning:
                wanted = (*wanted, str(beginning[number]))
            if wanted and str(value) not in wanted:
                yield name, str(value), wanted[-1]


def _wanted(name: str, family: str, here: Settings, fresh: Settings) -> tuple[str, ...]:
    """The values that an interface can have of itself: of now, and of a new namespace's."""
    if name == "forwarding":
        switch = "net/ipv4/ip_forward" if family == "ipv4" else "net/ipv6/conf/all/forwarding"
        return (here[switch],) if switch in here else ()
    path = f"net/{family}/conf/default/{name}"
    found = (here.get(path), fresh.get(path))
    return tuple(value for value in found if value is not None)


def _conf(link: Interface, family: str) -> bytes:
    return link.conf if family == "ipv4" else link.conf6


def _values(conf: bytes) -> tuple[int, ...]:
    return struct.unpack(f"={len(conf) // 4}i", conf)
