"""Tables, sets, chains and elements of nftables: the commands that a person types, and what `nft -f` takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from nslab.net.balance import NftChain, NftElement, NftSet, NftTable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.net.steps import Step

Things: TypeAlias = NftTable | NftSet | NftChain | NftElement


def lines(step: Step, obj: Things) -> list[str]:
    """The commands for one step."""
    raise NotImplementedError


def nft_restore(steps: Iterable[Step]) -> str:
    """Input for `nft -f -`: one transaction."""
    raise NotImplementedError
