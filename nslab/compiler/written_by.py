"""Who writes the objects that a component writes on a real node."""

from __future__ import annotations

from enum import Enum


class WrittenBy(Enum):
    """NSLAB: `up` writes them itself, which is fast; the components idle. COMPONENTS: each component writes its own."""

    NSLAB = "nslab"
    COMPONENTS = "components"
