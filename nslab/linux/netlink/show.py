"""What `ip -j` shows in hosts of a lab."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from nslab.linux.netns import named
from nslab.linux.rules import restore
from nslab.objects.names import netns

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = TypeVar("Kind", bound=str)


def show(lab: str, wanted: Iterable[tuple[str, Kind]]) -> dict[tuple[str, Kind], list[dict[str, Any]]]:
    """Return the entries of each (host, addr | link | neigh | route); leaves out hosts that do not exist."""
    existing = {*named(lab)}
    return {(host, kind): _asked(netns(lab, host), kind) for host, kind in wanted if netns(lab, host) in existing}


def _asked(ns: str, kind: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(restore.listed("ip", "-j", "-n", ns, kind, "show") or "[]")
    return rows
