"""Parses the output of `nft list table`.

nft lists a rule in another form than it was written in, and each version of nft differs. So nslab writes the desired
rules to a scratch namespace and lists them there with the same nft: rules with the same listing are equal.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from nslab.dataclass import replace
from nslab.objects.base import Add
from nslab.objects.nft import NftChain, NftElement, NftSet, NftTable
from nslab.objects.nft_commands import nft_restore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.objects.base import KernelObject
    from nslab.objects.nft_commands import Ruleset

_COMMENT = re.compile(r' comment "([^"]*)"')
_COUNTED = re.compile(r"\bcounter packets \d+ bytes \d+")
_KEY = re.compile(r"\S+(?: \. \S+)*")
_TIMEOUT = re.compile(r"\btimeout \S+ ;")
_PROTOCOLS = {"6": "tcp", "17": "udp", "132": "sctp"}  # nft prints numbers on a machine without /etc/protocols


class Block(NamedTuple):
    """A set, map or chain as nft lists it. `head`: its declaration; `body`: its elements or rules."""

    kind: str
    name: str
    head: tuple[str, ...]
    body: tuple[str, ...]


def tables(known: Iterable[KernelObject]) -> list[str]:
    """The names of the tables among `known`."""
    return [obj.name for obj in known if isinstance(obj, NftTable)]


def reworded(known: Iterable[KernelObject]) -> str:
    """Input for `nft -f` that yields nft's listing of `known`, without elements: nft lists those as written."""
    return nft_restore(Add(obj) for obj in known if not isinstance(obj, NftElement))


def seen(name: str, listed: str, wanted: str, known: Iterable[KernelObject]) -> Iterator[Ruleset]:
    """A table with its contents, as far as possible in the spelling of `known`.

    `listed`: nft's listing of the table; `wanted`: its listing of the desired one.
    """
    comment, blocks = nft_found(listed)
    alike = {(block.kind, block.name): block for block in nft_found(wanted)[1]}
    table = next(obj for obj in known if isinstance(obj, NftTable) and obj.name == name)
    sets = {obj.name: obj for obj in known if isinstance(obj, NftSet) and obj.table == name}
    chains = {obj.name: obj for obj in known if isinstance(obj, NftChain) and obj.table == name}
    yield NftTable(table.ns, name, comment, by=table.by)
    for block in blocks:
        like = alike.get((block.kind, block.name))
        if block.kind == "chain":
            yield _chain(table, block, like, chains.get(block.name))
            continue
        yield _set(table, block, like, sets.get(block.name))
        # Packets add the elements of a dynamic set.
        if not any(line.startswith("flags") and "dynamic" in line for line in block.head):
            yield from (element_found(table.ns, name, block.name, text) for text in block.body)


def _chain(table: NftTable, block: Block, like: Block | None, wanted: NftChain | None) -> NftChain:
    head, rules = " ".join(block.head), block.body
    if like and wanted:
        head = wanted.hook if block.head == like.head else head
        rules = wanted.rules if block.body == like.body else rules
    return NftChain(table.ns, table.name, block.name, head, rules)


def _set(table: NftTable, block: Block, like: Block | None, wanted: NftSet | None) -> NftSet:
    if like and wanted and _lasting(block) == _lasting(like):
        # The kernel can change the time-out in place, so it is compared separately.
        timeout = next((line for line in block.head if line.startswith("timeout ")), "")
        same = not timeout or timeout in like.head
        return wanted if same else replace(wanted, spec=_TIMEOUT.sub(f"{timeout} ;", wanted.spec))
    return NftSet(table.ns, table.name, block.name, "".join(f"{line} ; " for line in block.head), block.kind == "map")


def _lasting(block: Block) -> list[str]:
    """A set's declaration without time-out and size: the kernel adds a size once a rule updates the set."""
    return [line for line in block.head if line and not line.startswith(("size ", "timeout "))]


def nft_found(listing: str) -> tuple[str, list[Block]]:
    """The comment and the blocks of one table in the output of `nft list table`."""
    comment, blocks = "", []
    inside: list[str] = []
    for line in uncounted(listing).splitlines():
        match line.split():
            case ["comment", *_] if not inside and line.startswith("\tcomment"):
                comment = line.strip().removeprefix("comment ").strip('"')
            case ["set" | "map" | "chain", _, "{"] if line.startswith("\t") and line[1] != "\t":
                inside = [line]
            case ["}"] if inside and line == "\t}":
                blocks.append(_block(inside))
                inside = []
            case _ if inside:
                inside.append(line.strip())
    return comment, blocks


def uncounted(listing: str) -> str:
    """A listing of rules without what their counters have counted."""
    return _COUNTED.sub("counter", listing)


def _block(lines: list[str]) -> Block:
    kind, name, _ = lines[0].split()
    if kind == "chain":
        head = [line for line in lines[1:] if re.match(r'type \w+ hook |comment "', line)]
        return Block(kind, name, tuple(head), tuple(lines[1 + len(head) :]))
    declared, _, elements = "\n".join(lines[1:]).partition("elements = {")
    return Block(kind, name, tuple(declared.split("\n")[: -1 if elements else None]), tuple(_parted(elements)))


def _parted(elements: str) -> Iterator[str]:
    """The elements of a list such as `a, b comment "c, d" }`."""
    for found in re.findall(r'(?:[^",}]|"[^"]*")+', elements):
        if words := " ".join(found.split()):
            yield words


def element_found(ns: str, table: str, name: str, text: str) -> NftElement:
    """The element for nft's listing of it, with protocols by name."""
    comment, (rest, _, verdict) = _COMMENT.search(text), _COMMENT.sub("", text).partition(" : ")
    found = _KEY.match(rest)
    assert found, text
    key = found[0].split(" . ")
    key[-2:-1] = [_PROTOCOLS.get(word, word) for word in key[-2:-1]]
    return NftElement(ns, table, name, " . ".join(key), verdict, comment[1] if comment else "")
