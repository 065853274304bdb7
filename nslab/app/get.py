"""The objects of a running lab, as the API has them: whole, with what nslab does not act on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.lab.addons import with_api_service
from nslab.lab.resources import selected
from nslab.linux.stored_lab import stored_lab

if TYPE_CHECKING:
    from collections.abc import Sequence


def get(name: str, words: Sequence[str] = (), namespace: str = "") -> list[dict[str, Any]]:
    """The documents that `words` name (see nslab.lab.resources.selected); all of the lab's, if nothing."""
    return [one.value for one in selected(with_api_service(stored_lab(name)), words, namespace)]
