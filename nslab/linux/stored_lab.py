"""What was wished of a lab, as it is kept in its folder."""

from __future__ import annotations

import contextlib
import filecmp
from typing import TYPE_CHECKING

from nslab.api.words import WIDTH, nearest
from nslab.dataclass import dataclass
from nslab.errors import UsageError, about
from nslab.lab.dump import dump
from nslab.lab.find import CHECK, FILE, names
from nslab.lab.load import load_stored
from nslab.linux import places
from nslab.linux.netns import folder, labs
from nslab.linux.places import write
from nslab.quote import fill

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.lab.types import Lab

_BEFORE, _NEW = "before-{:03}.yaml", "new.yaml"


@dataclass(frozen=True, slots=True)
class StoredLab:
    """The wish as it is kept in the lab's folder: while it changes, those before it, too.

    Those, for a change may be cut short, and the next one as well: something of each may be there.
    """

    folder: Path

    def newest(self) -> Lab | None:
        """What was wished last."""
        return _kept(self.folder / FILE)

    def all(self) -> tuple[Lab, ...]:
        """What was wished, the newest first; more than one, if a change was cut short."""
        newest = self.newest()
        return (newest, *self.before()) if newest else self.before()

    def before(self) -> tuple[Lab, ...]:
        """What was wished before changes that were cut short, the newest first."""
        return tuple(map(load_stored, self._before()))

    def begin(self, lab: Lab) -> None:
        """Keep a new wish beside the old. There is a newest wish at any moment, whatever fails."""
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
        """Keep the new wish as it turned out."""
        self._written(lab).replace(self.folder / FILE)

    def keep_goals(self, text: str) -> None:
        """Keep the goals beside the wish; none: those of an earlier wish are none of this one's."""
        if text:
            with about(self.folder / CHECK):
                write(self.folder / CHECK, text)
        else:
            (self.folder / CHECK).unlink(missing_ok=True)

    def done(self) -> None:
        """The change is made: the old wishes are history."""
        for old in self._before():
            old.unlink()

    def back(self) -> None:
        """The change was taken back."""
        for old in self._before()[:1]:
            old.replace(self.folder / FILE)

    def _before(self) -> list[Path]:
        return sorted(self.folder.glob(_BEFORE.replace("{:03}", "*")), reverse=True)

    def _written(self, lab: Lab) -> Path:
        # A file of its own first: whenever we are killed, a wish is kept whole or not at all.
        new = self.folder / _NEW
        with about(self.folder / FILE):
            write(new, dump(lab))
        return new


def _kept(file: Path) -> Lab | None:
    return load_stored(file) if file.exists() else None


def stored_lab(name: str) -> Lab:
    """The lab as it was last brought up; UsageError if there is none of that name."""
    there = name in labs()
    if there:
        places.check(name)
    lab = StoredLab(folder(name)).newest() if there else None
    if lab is None:
        raise no_such_lab(name)
    return lab


def no_such_lab(name: str) -> UsageError:
    """The error for a lab that does not run: which one may have been meant, or how it comes up."""
    return UsageError(f"there is no running lab {name[:WIDTH]!r}; {_way_on(name)}")


def _way_on(name: str) -> str:
    shipped = names()
    if name in shipped:
        return fill("`nslab up {}` brings it up", name)
    if near := nearest(name, (lab for lab in labs() if lab != name)):
        return f"did you mean {near}?"
    if near := nearest(name, shipped):
        return fill("did you mean {}? `nslab up {}` brings it up", near, near)
    return "`nslab ps` lists those that run"
