"""The random letters at the end of names that an API server or a controller makes; here they follow from a seed."""

from __future__ import annotations

import hashlib

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, so that names contain no words; no 0, 1, 3, which look like letters (Kubernetes' alphabet)."""
LONGEST_BASE = 58
"""The API server truncates a base name to this length before it appends five characters: the result is a DNS label."""


def letters(seed: str, length: int) -> str:
    """Letters by hash: the same seed has the same letters."""
    number = int.from_bytes(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest(), "big")
    return "".join(ALPHABET[number // 27**digit % 27] for digit in range(length))


def generated(base: str, seed: str) -> str:
    """A name of a base and five letters (the API server's GenerateName)."""
    return base[:LONGEST_BASE] + letters(seed, 5)
