"""Build hook: adds the manual page and the completion scripts, generated from the commands, to a wheel."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return  # in a clone the commands change, so these files would become outdated
        sys.path.insert(0, self.root)
        try:
            from nslab.cli import complete, manual
            from nslab.cli.commands import tree
        finally:
            sys.path.remove(self.root)
        self.folder = tempfile.TemporaryDirectory(prefix="nslab-build-")
        texts = {"share/man/man1/nslab.1": manual.page(tree(), self.metadata.version)}
        texts |= {place: complete.script(shell) + "\n" for shell, place in complete.SHELLS.items()}
        for place, text in texts.items():
            file = Path(self.folder.name, place)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            build_data["shared_data"][str(file)] = place
