"""Write the guides of shipped labs with the labs' own values, for readers of the repository."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from nslab.admission.load import load
from nslab.compiler.placement import assign_addresses
from nslab.exercises.types import Language
from nslab.lab.course import filled_file, guide_file
from nslab.lab.find import shipped
from nslab.views.guide import read
from nslab.views.markdown import with_marks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def filled() -> Iterator[tuple[Path, str]]:
    """Yield each file to write, and its text."""
    for lab in shipped():
        placed = assign_addresses(load(lab.path))
        for language in Language:
            template = lab.path.with_name(guide_file(language))
            note = f"<!-- scripts/guides writes this file: change {template.name}. -->\n"
            yield lab.path.with_name(filled_file(language)), note + with_marks(read(template, placed, language))


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/guides", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1 if something differs")
    check = parser.parse_args().check
    differing = [(file, text) for file, text in filled() if not file.exists() or file.read_text("utf-8") != text]
    for file, text in differing:
        print(file.relative_to(file.parents[2]))
        if not check:
            file.write_text(text, "utf-8")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
