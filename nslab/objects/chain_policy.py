"""The policies of built-in chains: what becomes of a packet that no rule decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass, replace
from nslab.objects.base import KernelObject
from nslab.objects.iptables import InTable, Table
from nslab.objects.keys import Layer
from nslab.quote import fill

if TYPE_CHECKING:
    from nslab.objects.base import Step
    from nslab.objects.keys import Key
    from nslab.ruletext.items import Item

ACCEPT = "ACCEPT"
"""The policy of every built-in chain, until somebody sets another."""


@dataclass(frozen=True, slots=True)
class ChainPolicy(InTable):
    """The policy of one built-in chain, which no lab sets: packets that no rule decides are accepted."""

    table: Table
    chain: str
    policy: str

    rank: ClassVar[int] = Layer.RULE
    by_anybody: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("ChainPolicy", self.ns, self.table, self.chain)

    @property
    def initial(self) -> KernelObject:
        return replace(self, policy=ACCEPT)

    @property
    def body(self) -> tuple[str, ...]:
        return ()

    def item(self) -> tuple[Item, tuple[str, ...]]:
        return ("policy", self.table, self.chain, self.policy), ()

    def turn(self, _step: Step) -> int:
        return 0

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, ChainPolicy)

    def lines(self, _step: Step) -> list[str]:
        return [fill("ip netns exec {} iptables -t {} -P {} {}", self.ns, self.table, self.chain, self.policy)]

    @property
    def label(self) -> str:
        return f"policy {self.policy} of chain {self.chain} (table {self.table})"

    @property
    def sentence(self) -> str:
        return f"{self.host}'s chain {self.chain} (table {self.table}) has policy {self.policy}"

    @property
    def listed(self) -> tuple[str, str]:
        return "policies of built-in chains", f"{self.chain} {self.policy} (table {self.table})"

    def differing(self, old: KernelObject) -> str:
        if not isinstance(old, ChainPolicy):
            return KernelObject.differing(self, old)
        return f"{self.host}'s chain {self.chain} (table {self.table}) has policy {old.policy} instead of {self.policy}"
