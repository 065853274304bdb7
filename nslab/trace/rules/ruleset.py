"""All rules of a node, read once; per hook, the base chains in the order in which the kernel asks them (pure)."""

from __future__ import annotations

import contextlib
import gc
from typing import TYPE_CHECKING, Final, NamedTuple

from nslab.errors import UsageError
from nslab.ruletext.saved import BUILT_IN, tables
from nslab.trace.rules.ipsets import ipsets
from nslab.trace.rules.iptables import IptablesTable
from nslab.trace.rules.nft import NftRules
from nslab.trace.rules.nft_dump import listing, nft_tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.ruletext.saved import Tables
    from nslab.trace.rules.ipsets import IpSets
    from nslab.trace.rules.nft_dump import Listed, NftDump
    from nslab.trace.rules.packet import HookPacket
    from nslab.trace.rules.turn import RuleChain

LEGACY: Final = " (legacy)"
"""After the name of a table of iptables-legacy, where both variants have rules."""
CONNTRACK: Final = -200
"""The priority at which conntrack looks at a packet."""
PRIORITIES: Final = {"raw": -300, "mangle": -150, "nat": -100, "filter": 0, "security": 50}
"""Of iptables' tables; of `nat` on the way out (INPUT, POSTROUTING) it is 100."""


class HookChain(NamedTuple):
    """A chain at a hook. `order` decides among equal priorities; `devs`: the interfaces at which it is, () for all."""

    hook: str
    priority: int
    order: tuple[int, ...]
    nat: bool
    chain: RuleChain
    devs: tuple[str, ...] = ()

    @property
    def tracked(self) -> bool:
        """Whether conntrack has seen the packet there."""
        return self.priority >= CONNTRACK or self.hook not in ("PREROUTING", "OUTPUT")

    def takes(self, packet: HookPacket) -> bool:
        """Whether it is at the packet's interface."""
        return not self.devs or packet.iif in self.devs


class NodeRules:
    """The rules of a node."""

    def __init__(self, bases: Iterable[HookChain]) -> None:
        self._hooks: dict[str, list[HookChain]] = {}
        for base in sorted(bases, key=lambda base: (base.priority, base.order)):
            self._hooks.setdefault(base.hook, []).append(base)

    def hook(self, name: str) -> tuple[HookChain, ...]:
        """The base chains at a hook, first the one that is asked first."""
        return tuple(self._hooks.get(name, ()))


def read(iptables: str = "", ipset: str = "", nft: str = "", legacy: str = "", listed: Listed = ()) -> NodeRules:
    """The rules of a node that its programs print: `iptables-save` (and `iptables-legacy-save` if both variants have
    rules), `ipset save`, `nft -j list ruleset`. Raises UsageError with the place of what they would not print.

    Among chains of one priority the kernel asks the one first that came last. A dump does not say when each came; nft
    lists tables in the order in which they were made. `listed`: nft's objects, if they are no text.
    """
    with _no_collection():
        sets, saved = ipsets(ipset), tables(iptables)
        dumps, places = nft_tables(listed or listing(nft), saved)
        return NodeRules(
            [
                *_of_iptables(saved, sets, "", places),
                *_of_iptables(tables(legacy), sets, LEGACY, {}),
                *(base for dump in dumps for base in _of_nft(dump)),
            ]
        )


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    """Python's collector walks over all objects whenever many are made: 20 MB of JSON take 2 s with it, 0.2 without."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _of_iptables(saved: Tables, sets: IpSets, suffix: str, places: Mapping[str, int]) -> Iterator[HookChain]:
    for table, dumped in saved.items():
        own = IptablesTable(f"{table}{suffix}", dumped, sets)
        for hook in BUILT_IN[table]:
            outward = table == "nat" and hook in ("INPUT", "POSTROUTING")
            priority = 100 if outward else PRIORITIES[table]
            if chain := own.chain(hook):
                yield HookChain(hook, priority, (priority, -places.get(table, -1), 0), table == "nat", chain)


def _of_nft(dump: NftDump) -> Iterator[HookChain]:
    made: dict[str, NftRules] = {}
    for name, (body, _) in dump.chains.items():
        if isinstance(hook := body.get("hook"), str):
            priority, handle = priority_number(body.get("prio", 0), hook.upper()), body.get("handle")
            order = (priority, -dump.order, -handle if isinstance(handle, int) else 0)
            nat, dev = body.get("type") == "nat", body.get("dev", ())
            if nat:  # all nat chains of a hook are asked where nf_nat stands, in the order of their own priorities
                priority = -100 if hook in ("prerouting", "output") else 100
            devs = (dev,) if isinstance(dev, str) else tuple(str(one) for one in dev)
            made.setdefault(name, NftRules(dump, name, made))
            yield HookChain(hook.upper(), priority, order, nat, made[name], devs)


def priority_number(value: object, hook: str) -> int:
    """A number, or a name with an offset (`dstnat + 5`). Raises UsageError."""
    named = {**PRIORITIES, "dstnat": -100, "srcnat": 100, "nat": 100 if hook in ("INPUT", "POSTROUTING") else -100}
    name, _, offset = str(value).partition(" ")
    try:
        return named[name] + int(offset.replace(" ", "")[:12] or 0) if name in named else int(name[:12])
    except ValueError as error:
        raise UsageError(f"nft -j list ruleset: no priority: {str(value)[:40]!a}") from error
