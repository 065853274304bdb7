"""What a kube-proxy that starts finds in its node's kernel (pure): what need not be made again, and what nobody wants.

Chains and settings are written anew in any case, and nftables' table is flushed in the same transaction; but a jump
would stand there twice, ipvsadm refuses what is there, and what was for Services that are gone must go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nslab.ruletext.items import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.proxy.model import Proxy
    from nslab.ruletext.items import Item, Items

_HASHED = re.compile(r":(KUBE-(?:SVC|SVL|SEP|EXT|FW|XLB)-[A-Z2-7]{16}) ")
_PROTOCOLS = {"-t": "tcp", "-u": "udp", "--sctp-service": "sctp"}


def looks(wanted: Items, proxy: Proxy) -> tuple[Command, ...]:
    """The programs whose output `found` reads."""
    kinds = {item[0] for item in wanted}
    return tuple(
        Command(argv, "")
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


def found(outputs: Sequence[tuple[Command, str]], wanted: Items) -> Items:
    """What is there of what is wanted, and of what is a kube-proxy's but wanted no more; by what the programs said."""
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


def leftovers(outputs: Sequence[tuple[Command, str]], wanted: Items) -> Items:
    """What of nftables is there and not wanted, and can go once everything is written: nothing leads to it then."""
    texts = [text for command, text in outputs if command.argv[0] == "nft"]
    return {item: ("",) for text in texts for item in _in_tables(text, wanted) if item not in wanted}


def _in_tables(text: str, wanted: Items) -> Iterator[Item]:
    """Chains and sets in tables of ours, which hold nothing of anybody else."""
    ours = False
    for line in text.splitlines():
        match line.split():
            case ["table", _, name, "{"]:
                ours = ("nft-table", name) in wanted
            case [("chain" | "set") as kind, name, "{"] if ours:
                yield (f"nft-{kind}", name)


def _rules(text: str, wanted: Items) -> Iterator[Item]:
    """Jumps that are there; chains of Services that are gone. iptables lets only the latter be told by their names."""
    jumps = {(item[1], f"-A {item[2]} {item[3]}"): item for item in wanted if item[0] == "jump"}
    # Of a mode whose KUBE-SERVICES leads to such chains: once it is written anew, it leads to none that is not wanted.
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
    """All virtual servers: they are a kube-proxy's own, as it sees it (but for those in --ipvs-exclude-cidrs)."""
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
