"""The tables of nftables that a lab makes, read back.

nft lists a rule in other words than it was written in, and each version in its own. So what is wished is written into a
namespace that nobody sees, and listed there by the same program: what is listed alike is alike.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, TypeVar

from nslab.dataclass import replace
from nslab.errors import Refused
from nslab.linux.rules import restore
from nslab.objects.kinds import NftChain, NftSet, NftTable
from nslab.objects.nft import element_found, nft_found, nft_restore
from nslab.objects.plan import Add

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nslab.linux.netns import Namespaces
    from nslab.objects.kinds import Object
    from nslab.objects.nft import Block

    T = TypeVar("T", bound=Object)

_TIMEOUT = re.compile(r"\btimeout \S+ ;")
_OF_IPTABLES = {f"table {family} {name}" for family in ("ip", "ip6") for name in ("raw", "mangle", "nat", "filter")}
"""Where iptables-nft keeps its rules."""


def nft_things(spaces: Namespaces, ns: str, known: Sequence[Object]) -> tuple[list[Object], list[str]]:
    """What there is of our tables, as far as possible in the words of `known`; the names of other people's tables."""
    tables = _only(known, NftTable)
    if not tables:
        return [], []
    spaces.enter(ns)
    there = _nft("list", "tables").splitlines()
    listed = {table: _nft("list", "table", "ip", table.name) for table in tables if f"table ip {table.name}" in there}
    ours = {f"table ip {table.name}" for table in tables} | _OF_IPTABLES
    strangers = [f"nft {name}" for name in there if name not in ours]
    if not listed:
        return [], strangers
    with spaces.throwaway():
        # Elements are listed as they are written: only what nft rewords has to be written.
        _nft("-f", "-", text=nft_restore(Add(obj) for obj in known if isinstance(obj, NftTable | NftSet | NftChain)))
        wished = {table: _nft("list", "table", "ip", table.name) for table in listed}
    return [obj for table in listed for obj in _table(table, listed[table], wished[table], known)], strangers


def _table(table: NftTable, listed: str, wished: str, known: Sequence[Object]) -> Iterator[Object]:
    comment, blocks = nft_found(listed)
    alike = {(block.kind, block.name): block for block in nft_found(wished)[1]}
    sets = {obj.name: obj for obj in _only(known, NftSet) if obj.table == table.name}
    chains = {obj.name: obj for obj in _only(known, NftChain) if obj.table == table.name}
    yield NftTable(table.ns, table.name, comment, by=table.by)
    for block in blocks:
        like = alike.get((block.kind, block.name))
        if block.kind == "chain":
            yield _chain(table, block, like, chains.get(block.name))
            continue
        yield _set(table, block, like, sets.get(block.name))
        # What is in a dynamic set, packets have put there.
        if not any(line.startswith("flags") and "dynamic" in line for line in block.head):
            yield from (element_found(table.ns, table.name, block.name, said) for said in block.body)


def _chain(table: NftTable, block: Block, like: Block | None, wish: NftChain | None) -> NftChain:
    head, rules = " ".join(block.head), block.body
    if like and wish:
        head = wish.hook if block.head == like.head else head
        rules = wish.rules if block.body == like.body else rules
    return NftChain(table.ns, table.name, block.name, head, rules)


def _set(table: NftTable, block: Block, like: Block | None, wish: NftSet | None) -> NftSet:
    if like and wish and _lasting(block) == _lasting(like):
        # The time-out can be changed in place, so it is told apart.
        timeout = next((line for line in block.head if line.startswith("timeout ")), "")
        return (
            wish if not timeout or timeout in like.head else replace(wish, spec=_TIMEOUT.sub(f"{timeout} ;", wish.spec))
        )
    return NftSet(table.ns, table.name, block.name, "".join(f"{line} ; " for line in block.head), block.kind == "map")


def _lasting(block: Block) -> list[str]:
    """What a set is declared with. The kernel gives a set a size when a rule comes that adds to it."""
    return [line for line in block.head if line and not line.startswith(("size ", "timeout "))]


def _nft(*arguments: str, text: str = "") -> str:
    argv = [restore.program("nft"), *arguments]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, env=restore.environment(), check=False)
    if done.returncode:
        raise Refused(f"nft {' '.join(arguments)}", done.stderr.partition("\n")[0])
    return done.stdout


def _only(objects: Sequence[Object], kind: type[T]) -> list[T]:
    return [obj for obj in objects if isinstance(obj, kind)]
