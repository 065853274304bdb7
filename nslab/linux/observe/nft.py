"""List a lab's nftables tables, and the desired ones from a throwaway namespace, in the same words."""

from __future__ import annotations

import contextlib
import re
import subprocess
from typing import TYPE_CHECKING

from nslab.errors import Refused
from nslab.linux.rules import restore
from nslab.objects import nft_listing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nslab.linux.netns import Namespaces
    from nslab.objects.base import KernelObject

_HOOK = re.compile(r"^\t\ttype \w+ hook (\w+)(?: device \S+)? priority [^;]+; policy (\w+);", re.MULTILINE)


def tables(spaces: Namespaces, ns: str, known: Sequence[KernelObject]) -> list[KernelObject]:
    """Return the objects in the lab's tables, equal to those in `known` where possible."""
    names = nft_listing.tables(known)
    if not names:
        return []
    spaces.enter(ns)
    there = _nft("list", "tables").splitlines()
    listed = {name: _nft("list", "table", "ip", name) for name in names if f"table ip {name}" in there}
    if not listed:
        return []
    with spaces.throwaway():
        _nft("-f", "-", text=nft_listing.reworded(known))
        wanted = {name: _nft("list", "table", "ip", name) for name in listed}
    return [obj for name in listed for obj in nft_listing.seen(name, listed[name], wanted[name], known)]


def wanted_rules(spaces: Namespaces, known: Sequence[KernelObject]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The rules of the chains in `known` as this machine's nft lists them, by table and chain."""
    names = nft_listing.tables(known)
    if not names:
        return {}
    with spaces.throwaway():
        _nft("-f", "-", text=nft_listing.reworded(known))
        listed = {name: nft_listing.nft_found(_nft("list", "table", "ip", name))[1] for name in names}
    return {(name, one.name): one.body for name, blocks in listed.items() for one in blocks if one.kind == "chain"}


def wanted_ruleset(spaces: Namespaces, known: Sequence[KernelObject]) -> str:
    """The tables in `known` as `nft -j list ruleset` prints them; "" without any."""
    if not nft_listing.tables(known):
        return ""
    with spaces.throwaway():
        _nft("-f", "-", text=nft_listing.reworded(known))
        return _nft("-j", "list", "ruleset")


def described(family: str, name: str) -> str:
    """An unmanaged table, with its hooks and their policies."""
    listed = ""
    with contextlib.suppress(Refused):  # it went meanwhile
        listed = _nft("list", "table", family, name)
    found = _HOOK.findall(listed)
    hooks = ", ".join(f"hook {hook} policy {policy}" for hook, policy in found)
    return f"nft table {family} {name}" + (f" ({hooks})" if hooks else "")


def _nft(*arguments: str, text: str = "") -> str:
    argv = [restore.program("nft"), *arguments]
    done = subprocess.run(argv, input=text, capture_output=True, text=True, env=restore.environment(), check=False)
    if done.returncode:
        raise Refused(f"nft {' '.join(arguments)}", done.stderr.partition("\n")[0])
    return done.stdout
