"""The API objects of a running lab, complete: with the fields that nslab does not act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.lab.resources import selected
from nslab.linux.stored_lab import stored_lab

if TYPE_CHECKING:
    from collections.abc import Sequence


def get(name: str, words: Sequence[str] = (), namespace: str = "") -> list[dict[str, Any]]:
    """Return the documents that `words` select (see nslab.lab.resources.selected); all of the lab's without words."""
    return [document.value for document in selected(stored_lab(name), words, namespace)]
