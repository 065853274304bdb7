"""Virtual and real servers as lines for `ipvsadm -R`, and how real servers leave.

`nslab.proxy.ipvs.commands` deletes at once what is to go. A kube-proxy that lets connections end first does

    kept = retire(old, new)                         # those of TCP stay, with weight 0: nothing new is sent there
    commands(old, {**new, **kept}, proxy)           # `old` is what is there, with what was kept before
    gone = expired(output of `ipvsadm -Ln`, kept)   # right then and every minute: nobody talks to these any more
    commands(gone, {}, proxy)                       # they go, and are taken out of what is there

`ipvsadm -R` goes on after a line that the kernel refuses, says why on its standard error, and ends with status 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.ruletext.items import Body, Item, Items

OPTIONS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
"""How ipvsadm is told of a protocol."""


def ipvsadm_lines(old: Items, new: Items) -> Iterator[str]:
    """Who comes before who goes, so that a virtual server is not left without real ones in between."""
    for item, body in new.items():
        if item[0] == "virtual" and old.get(item) != body:
            yield f"{'-E' if item in old else '-A'} {_virtual(item, body)}"
    for item, body in new.items():
        if item[0] == "real" and old.get(item) != body:
            yield f"{'-e' if item in old else '-a'} {_real(item)} -m -w {body[0]}"
    dying = _dying(old, new)
    for item in old:
        if item[0] == "real" and item not in new and _of(item) not in dying:
            yield f"-d {_real(item)}"
    yield from (f"-D {OPTIONS[item[1]]} {item[2]}" for item in dying)  # and with it its real ones


def retire(old: Items, new: Items) -> Items:
    """The real servers that are to go but may still have connections: of TCP, and of virtual servers that stay.

    UDP's go at once, as a datagram needs no end, and SCTP's, as with kube-proxy.
    """
    dying = _dying(old, new)
    leaving = (item for item in old if item not in new and item[:2] == ("real", "tcp"))
    return {item: ("0",) for item in leaving if _of(item) not in dying}


def expired(listed: str, retired: Items) -> Items:
    """Of the `retired`, those that have no connection any more (or are gone), by the output of `ipvsadm -Ln`."""
    busy: set[Item] = set()
    protocol = virtual = ""
    for line in listed.splitlines():
        match line.split():
            case ["TCP" | "UDP" | "SCTP" as kind, where, *_]:
                protocol, virtual = kind.lower(), where
            case ["->", server, "Masq", _, active, inactive] if int(active) + int(inactive):
                busy.add(("real", protocol, virtual, server))
    return {item: body for item, body in retired.items() if item not in busy}


def _dying(old: Items, new: Items) -> dict[Item, None]:
    return {item: None for item in old if item[0] == "virtual" and item not in new}


def _of(real: Item) -> Item:
    """Its virtual server."""
    return ("virtual", *real[1:3])


def _virtual(item: Item, body: Body) -> str:
    scheduler, seconds, flags = body
    return f"{OPTIONS[item[1]]} {item[2]} -s {scheduler}{seconds and f' -p {seconds}'}{flags and f' -b {flags}'}"


def _real(item: Item) -> str:
    return f"{OPTIONS[item[1]]} {item[2]} -r {item[3]}"
