"""The desired state of a lab, as stored in its folder."""

from __future__ import annotations

import contextlib
import filecmp
from typing import TYPE_CHECKING

from nslab.dataclass import dataclass
from nslab.errors import UsageError, about
from nslab.lab.dump import dump
from nslab.lab.find import CHECK, FILE
from nslab.lab.load import load_stored
from nslab.linux import places
from nslab.linux.netns import folder, labs
from nslab.linux.places import write

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.lab.types import Lab

_BEFORE, _NEW = "before-{:03}.yaml", "new.yaml"


@dataclass(frozen=True, slots=True)
class StoredLab:
    """The desired state in a lab's folder; during a change, the previous ones, too.

    There can be several: a change may be interrupted, and the next one as well, so that objects of each may exist.
    """

    folder: Path

    def newest(self) -> Lab | None:
        """The latest desired state; None if nothing is stored."""
        return _kept(self.folder / FILE)

    def all(self) -> tuple[Lab, ...]:
        """The stored states, the newest first; more than one if a change was interrupted."""
        newest = self.newest()
        return (newest, *self.before()) if newest else self.before()

    def before(self) -> tuple[Lab, ...]:
        """The states before interrupted changes, the newest first."""
        return tuple(map(load_stored, self._before()))

    def begin(self, lab: Lab) -> None:
        """Store a new state beside the old one. Whatever fails, there is always a newest state."""
        new = self._written(lab)
        file, before = self.folder / FILE, self._before()
        number = int(before[0].stem.rpartition("-")[2]) + 1 if before else 0
        with contextlib.suppress(FileNotFoundError):
            for old in before:
                if filecmp.cmp(old, file, shallow=False):
                    old.unlink()
            (self.folder / _BEFORE.format(number)).hardlink_to(file)
        new.replace(file)

    def again(self, lab: Lab) -> None:
        """Store the new state again, after CNI plugins changed addresses."""
        self._written(lab).replace(self.folder / FILE)

    def keep_goals(self, text: str) -> None:
        """Store the goals of an exercise; an empty text removes those of an earlier state."""
        if text:
            with about(self.folder / CHECK):
                write(self.folder / CHECK, text)
        else:
            (self.folder / CHECK).unlink(missing_ok=True)

    def done(self) -> None:
        """Forget the old states: the change is complete."""
        for old in self._before():
            old.unlink()

    def back(self) -> None:
        """Make the old state the newest again: the change was rolled back."""
        for old in self._before()[:1]:
            old.replace(self.folder / FILE)

    def _before(self) -> list[Path]:
        return sorted(self.folder.glob(_BEFORE.replace("{:03}", "*")), reverse=True)

    def _written(self, lab: Lab) -> Path:
        # Into a new file first: whenever nslab is killed, a state is stored completely or not at all.
        new = self.folder / _NEW
        with about(self.folder / FILE):
            write(new, dump(lab))
        return new


def _kept(file: Path) -> Lab | None:
    return load_stored(file) if file.exists() else None


def stored_lab(name: str) -> Lab:
    """The desired state of a running lab; UsageError if no lab has that name."""
    exists = name in labs()
    if exists:
        places.check(name)
    lab = StoredLab(folder(name)).newest() if exists else None
    if lab is None:
        raise UsageError(f"there is no running lab {name[:60]!r}; `nslab ps` lists those that run")
    return lab
