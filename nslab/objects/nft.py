"""Tables, sets, chains and elements of nftables: the commands that a person types, and what `nft -f` takes.

A text for `nft -f` is one transaction of the kernel, and no packet sees anything in between. So the order of the steps
does not matter: all that goes away goes first, from top to bottom, and what comes is put up from bottom to top.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from nslab.objects.balance import NftChain, NftElement, NftSet, NftTable
from nslab.objects.plan import Add, Remove, Replace
from nslab.quote import fill, quote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nslab.objects.noun import Key
    from nslab.objects.plan import Step

Things: TypeAlias = NftTable | NftSet | NftChain | NftElement

_PLAIN = re.compile(r"[\w ./:@=,-]*", re.ASCII)
_COMMENT = re.compile(r' comment "([^"]*)"')
_KEY = re.compile(r"\S+(?: \. \S+)*")
_PROTOCOLS = {"6": "tcp", "17": "udp", "132": "sctp"}  # as nft shows them on a machine without /etc/protocols


class Order(NamedTuple):
    """One thing that nft is told, for the sake of a step. To `fill` a chain is to empty it and give it its rules."""

    verb: Literal["flush", "delete", "add", "fill"]
    thing: Things
    step: Step


def orders(steps: Iterable[Step]) -> Iterator[Order]:
    """What nft is told to do the steps as one transaction."""
    told = [(step, step.obj) for step in steps if isinstance(step.obj, NftTable | NftSet | NftChain | NftElement)]
    # A table that goes takes all that is in it along.
    emptied = {thing.key for step, thing in told if isinstance(step, Remove)}
    told = [(step, thing) for step, thing in told if isinstance(step, Add) or _table_of(thing) not in emptied]
    gone = [(step, thing) for step, thing in told if isinstance(step, Remove)]
    come = [(step, thing) for step, thing in told if not isinstance(step, Remove)]
    for step, thing in told:
        if isinstance(thing, NftChain) and not isinstance(step, Add):
            yield Order("flush", thing, step)
    for step, thing in told:
        if isinstance(thing, NftElement) and not isinstance(step, Add):
            yield Order("delete", thing, step)
    for kind in (NftChain, NftSet, NftTable):
        yield from (Order("delete", thing, step) for step, thing in gone if isinstance(thing, kind))
    yield from (Order("add", thing, step) for step, thing in come if isinstance(thing, NftTable))
    yield from (Order("add", thing, step) for step, thing in come if isinstance(thing, NftSet))
    for step, thing in come:
        if isinstance(thing, NftChain) and isinstance(step, Add):
            yield Order("add", thing, step)
    yield from (Order("fill", thing, step) for step, thing in come if isinstance(thing, NftChain))
    yield from (Order("add", thing, step) for step, thing in come if isinstance(thing, NftElement))


def _table_of(thing: Things) -> Key:
    return ("", "") if isinstance(thing, NftTable) else ("NftTable", thing.ns, thing.table)


def nft_restore(steps: Iterable[Step]) -> str:
    """Input for `nft -f -`: one transaction."""
    return "".join(f"{line}\n" for order in orders(steps) for line in _said(order))


def typed(steps: Iterable[Step]) -> list[str]:
    """The commands for steps of one namespace, in an order in which one works after the other."""
    return [_typed(order.thing.ns, words) for order in orders(steps) for words in _words(order)]


def lines(step: Step, obj: Things) -> list[str]:
    """The commands for one step."""
    told = [words for order in orders([step]) for words in _words(order)]
    if isinstance(step, Add) and isinstance(obj, NftChain):
        told = [words for words in told if words[0] != "flush"]  # it is new, and so it is empty
    elif isinstance(step, Replace) and isinstance(obj, NftChain):
        told = told[1:]  # once is enough
    return [_typed(obj.ns, words) for words in told]


def _typed(ns: str, words: Iterable[str]) -> str:
    return " ".join([fill("ip netns exec {} nft", ns), *(_quoted(word) for word in words if word)])


def _said(order: Order) -> Iterator[str]:
    yield from (" ".join(filter(None, words)) for words in _words(order))


def _words(order: Order) -> Iterator[tuple[str, str, str]]:
    """The commands for one order: what is done, to what, and the rest, which a shell may not like."""
    verb, thing, _ = order
    match thing:
        case NftTable(name=name, comment=comment):
            yield verb, f"table ip {name}", f'{{ comment "{comment}" ; }}' if verb == "add" and comment else ""
        case NftSet(table=table, name=name, spec=spec):
            kind = "map" if thing.map else "set"
            yield verb, f"{kind} ip {table} {name}", f"{{ {spec} }}" if verb == "add" else ""
        case NftElement(table=table, set=name):
            yield verb, f"element ip {table} {name}", f"{{ {_element(thing) if verb == 'add' else thing.element} }}"
        case NftChain(table=table, name=name, hook=hook) if verb != "fill":
            yield verb, f"chain ip {table} {name}", f"{{ {hook} }}" if verb == "add" and hook else ""
        case NftChain(table=table, name=name, rules=rules):
            yield "flush", f"chain ip {table} {name}", ""
            yield from (("add", f"rule ip {table} {name}", rule) for rule in rules)


def _element(thing: NftElement) -> str:
    comment = f' comment "{thing.comment}"' if thing.comment else ""
    return f"{thing.element}{comment}{f' : {thing.verdict}' if thing.verdict else ''}"


def _quoted(words: str) -> str:
    return words if _PLAIN.fullmatch(words) else quote(words)


class Block(NamedTuple):
    """A set, map or chain as nft lists it. `head`: what it is declared with; `body`: its elements or rules."""

    kind: str
    name: str
    head: tuple[str, ...]
    body: tuple[str, ...]


def nft_found(listing: str) -> tuple[str, list[Block]]:
    """The comment and the blocks of one table in the output of `nft list table`."""
    comment, blocks = "", []
    inside: list[str] = []
    for line in listing.splitlines():
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


def _block(lines: list[str]) -> Block:
    kind, name, _ = lines[0].split()
    if kind == "chain":
        head = [line for line in lines[1:] if re.match(r'type \w+ hook |comment "', line)]
        return Block(kind, name, tuple(head), tuple(lines[1 + len(head) :]))
    declared, _, elements = "\n".join(lines[1:]).partition("elements = {")
    return Block(kind, name, tuple(declared.split("\n")[: -1 if elements else None]), tuple(_parted(elements)))


def _parted(elements: str) -> Iterator[str]:
    """The elements of `a, b comment "c, d" }`."""
    for found in re.findall(r'(?:[^",}]|"[^"]*")+', elements):
        if words := " ".join(found.split()):
            yield words


def element_found(ns: str, table: str, name: str, said: str) -> NftElement:
    """An element as nft lists it, spelt as it is written."""
    comment, (rest, _, verdict) = _COMMENT.search(said), _COMMENT.sub("", said).partition(" : ")
    found = _KEY.match(rest)
    assert found, said
    key = found[0].split(" . ")
    key[-2:-1] = [_PROTOCOLS.get(word, word) for word in key[-2:-1]]
    return NftElement(ns, table, name, " . ".join(key), verdict, comment[1] if comment else "")
