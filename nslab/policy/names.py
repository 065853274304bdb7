"""Felix's names: of chains, which have at most 28 characters, of sets (31), and of groups of policies."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

CHAIN, NFT_CHAIN, SET = 28, 248, 31
"""The maximum lengths. The kernel has 255 for a chain of nft, which begins with a table's name and a hyphen."""
SETS = "cali40"
"""What the name of an IPv4 set begins with."""
_SAFE = re.compile("[A-Za-z0-9._/-]+")


def chain(prefix: str, key: str, longest: int = CHAIN) -> str:
    """The name of a chain: PREFIX and KEY, or a hash of KEY if that is too long, or might be taken for a hash.

    Or if it has characters that no name of Kubernetes has: it goes into the input of iptables-restore.
    """
    whole = prefix + key
    if len(whole) > longest or (len(whole) == longest and key.startswith("_")) or not _SAFE.fullmatch(key):
        return f"{prefix}_{base64url(hashlib.sha256(key.encode()).digest())}"[:longest]
    return whole


def group_key(words: Iterable[str]) -> str:
    """What follows the prefix in the name of a group's chain."""
    text = "".join(f"{word}\n" for word in words)
    return base64url(hashlib.sha3_224(text.encode()).digest())[:20]


def selector_id(selector: str) -> str:
    """The id of the set of all pods that a selector matches."""
    return _id("s", selector)


def named_port_id(selector: str, protocol: str, name: str) -> str:
    """The id of the set of addresses and ports that pods of a selector call by a name; `protocol` in small letters."""
    return _id("n", f"{selector_id(selector)},{protocol},{name}")


def ipset(set_id: str) -> str:
    """The name of an IPv4 set."""
    return f"{SETS}{set_id}"[:SET]


def base64url(data: bytes) -> str:
    """RFC 4648 base64 with - and _, without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _id(kind: str, text: str) -> str:
    return f"{kind}:{base64url(hashlib.sha224(f'{kind}:{text}'.encode()).digest())}"
