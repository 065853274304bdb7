"""The items that a starting kube-proxy finds in its node's kernel (pure): existing ones, and surplus ones.

kube-proxy rewrites chains and settings in any case, and flushes nftables' table in the same transaction. But it must
not add a jump twice, ipvsadm refuses existing servers, and items of deleted Services must go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nslab.ruletext.items import NodeCommand

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.proxy.model import Proxy
    from nslab.ruletext.items import Item, Items

_HASHED = re.compile(r":(KUBE-(?:SVC|SVL|SEP|EXT|FW|XLB)-[A-Z2-7]{16}) ")
_PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}


def looks(wanted: Items, proxy: Proxy) -> tuple[NodeCommand, ...]:
    """The commands whose output `found` reads."""
    kinds = {item[0] for item in wanted}
    return tuple(
        NodeCommand(argv, "")
        for kind, argv in (
            ("jump", (f"{proxy.iptables}-save",)),
            ("ipset", ("ipset", "save")),
            ("virtual", ("ipvsadm", "-Sn")),
            ("dummy", ("ip", "-o", "link", "show")),
            ("dummy", ("ip", "-o", "-4", "address", "show")),
            ("nft-table", ("nft", "-t", "list", "chains", "ip")),
            ("nft-table", ("nft", "-t", "list", "sets", "ip")),
        )
        if kind in kinds or (kind == "virtual" and proxy.mode == "ipvs")
    )


def found(outputs: Sequence[tuple[NodeCommand, str]], wanted: Items) -> Items:
    """The existing items: the wanted ones, and surplus ones of kube-proxy; `outputs`: each command with its output."""
    items: Items = {}
    for command, text in outputs:
        match command.argv:
            case ("ipset", *_):
                items |= _sets(text, wanted)
            case ("ipvsadm", *_):
                items |= _servers(text)
            case ("ip", _, "link", *_):
                items |= {item: () for item in _devices(text) if item in wanted}
            case ("ip", *_):
                items |= {item: () for item in _addresses(text) if ("dummy", item[1]) in wanted}
            case ("nft", *_):
                pass
            case _:
                items |= dict.fromkeys(_rules(text, wanted), ())
    return items


def leftovers(outputs: Sequence[tuple[NodeCommand, str]], wanted: Items) -> Items:
    """Surplus nftables items, which can be deleted after all wanted ones are written: nothing refers to them then."""
    texts = [text for command, text in outputs if command.argv[0] == "nft"]
    return {item: ("",) for text in texts for item in _in_tables(text, wanted) if item not in wanted}


def _in_tables(text: str, wanted: Items) -> Iterator[Item]:
    """Chains and sets in kube-proxy's own tables."""
    table = ""
    for line in text.splitlines():
        match line.split():
            case ["table", _, name, "{"]:
                table = name
            case [("chain" | "set") as kind, name, "{"] if ("nft-table", table) in wanted:
                yield (f"nft-{kind}", table, name)


def _rules(text: str, wanted: Items) -> Iterator[Item]:
    """Existing wanted jumps, and chains of deleted Services, which only their names identify."""
    jumps = {(item[1], f"-A {item[2]} {item[3]}"): item for item in wanted if item[0] == "jump"}
    # Only for a mode whose KUBE-SERVICES jumps to such chains: after its rewrite it jumps to wanted ones only.
    hashed = ("chain", "nat", "KUBE-NODEPORTS") in wanted
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A "):
            if (table, line) in jumps:
                yield jumps[table, line]
        elif hashed and table == "nat" and (name := _HASHED.match(line)):
            item = ("chain", "nat", name[1])
            if item not in wanted:
                yield item


def _sets(text: str, wanted: Items) -> Items:
    items: Items = {}
    for line in text.splitlines():
        match line.split():
            case ["create", name, kind, *_] if ("ipset", name) in wanted:
                items["ipset", name] = (kind,)
            case ["add", name, entry, *_] if ("ipset", name) in items:
                items["member", name, entry] = ()
    return items


def _servers(text: str) -> Items:
    """All virtual servers: kube-proxy considers them its own (except those in --ipvs-exclude-cidrs)."""
    items: Items = {}
    for line in text.splitlines():
        word, *rest = line.split()
        options = _options(rest)
        protocol, where = next(((_PROTOCOLS[name], options[name]) for name in options if name in _PROTOCOLS), ("", ""))
        if word == "-A" and protocol:
            items["virtual", protocol, where] = (options.get("-s", ""), options.get("-p", ""), options.get("-b", ""))
        elif word == "-a" and protocol:
            items["real", protocol, where, options.get("-r", "")] = (options.get("-w", ""),)
    return items


def _options(words: Sequence[str]) -> dict[str, str]:
    return {
        word: "" if number + 1 == len(words) or words[number + 1].startswith("-") else words[number + 1]
        for number, word in enumerate(words)
        if word.startswith("-")
    }


def _devices(text: str) -> Iterator[Item]:
    yield from (("dummy", line.split()[1].rstrip(":")) for line in text.splitlines())


def _addresses(text: str) -> Iterator[Item]:
    for line in text.splitlines():
        _, device, _, address, *_ = line.split()
        yield ("address", device, address if "/" in address else f"{address}/32")
