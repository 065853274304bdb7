"""Virtual and real servers as lines for `ipvsadm -R`, and the graceful removal of real servers.

`nslab.proxy.ipvs.commands` deletes servers at once. A kube-proxy that lets connections end first does

    kept = retire(old, new)                         # TCP servers stay with weight 0: they get no new connections
    commands(old, {**new, **kept}, proxy)           # `old`: the existing items, with those kept before
    gone = expired(output of `ipvsadm -Ln`, kept)   # at once and every minute: the servers without connections
    commands(gone, {}, proxy)                       # delete them, also from the existing items

`ipvsadm -R` continues after a line that the kernel refuses, prints the reason to stderr, and exits with status 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.ruletext.items import Body, Item, Items

OPTIONS = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
"""ipvsadm's option for each protocol."""


def ipvsadm_lines(old: Items, new: Items) -> Iterator[str]:
    """The lines; additions come before removals, so that a virtual server always has real ones."""
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
    yield from (f"-D {OPTIONS[item[1]]} {item[2]}" for item in dying)  # deletes its real servers, too


def retire(old: Items, new: Items) -> Items:
    """The removed real servers that may still have connections: TCP ones of virtual servers that stay.

    UDP ones go at once, because UDP has no connections, and SCTP ones, as in kube-proxy.
    """
    dying = _dying(old, new)
    leaving = (item for item in old if item not in new and item[:2] == ("real", "tcp"))
    return {item: ("0",) for item in leaving if _of(item) not in dying}


def expired(listed: str, retired: Items) -> Items:
    """The `retired` servers without connections (or already gone); `listed`: the output of `ipvsadm -Ln`."""
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
    """A real server's virtual server."""
    return ("virtual", *real[1:3])


def _virtual(item: Item, body: Body) -> str:
    scheduler, seconds, flags = body
    return f"{OPTIONS[item[1]]} {item[2]} -s {scheduler}{seconds and f' -p {seconds}'}{flags and f' -b {flags}'}"


def _real(item: Item) -> str:
    return f"{OPTIONS[item[1]]} {item[2]} -r {item[3]}"
