"""Addresses that equal their text, as tests write them: `assert pod.seen_as("web") == "10.244.0.1"`."""

from __future__ import annotations

from ipaddress import IPv4Address


class LabAddress(IPv4Address):
    """An IPv4 address that equals its text, also in sets and as a key (and there no longer a plain IPv4Address)."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str(self) == other if isinstance(other, str) else super().__eq__(other)

    def __hash__(self) -> int:
        return hash(str(self))
