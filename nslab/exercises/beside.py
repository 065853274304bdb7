"""The check file beside a lab's file. Few labs have one: what reads it is imported only then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.api.documents import text_of
from nslab.lab.find import check_file

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.lab.types import Lab


def goals_beside(lab_file: Path, lab: Lab) -> str:
    """The text of the check file beside a lab's file, validated for the lab; "" if there is none."""
    path = check_file(lab_file)
    if path is None:
        return ""
    from nslab.compiler.placement import assign_addresses
    from nslab.exercises.read import read_check

    text = text_of(path)
    read_check(text, str(path), assign_addresses(lab))
    return text
