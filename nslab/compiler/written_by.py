"""Who writes what a component writes on a real node."""

from __future__ import annotations

from enum import Enum


class WrittenBy(Enum):
    """`up` writes all of it itself, which is fast, while the components rest; else they write what is theirs."""

    NSLAB = "nslab"
    COMPONENTS = "components"
