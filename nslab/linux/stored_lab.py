"""The desired state of a lab, as stored in its folder."""

from __future__ import annotations

import contextlib
import filecmp
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.admission.load import load_stored
from nslab.api.words import WIDTH, nearest
from nslab.dataclass import dataclass
from nslab.errors import UsageError, about
from nslab.lab.dump import dump
from nslab.lab.find import CHECK, FILE, names
from nslab.linux import places
from nslab.linux.netns import folder, labs
from nslab.linux.places import write
from nslab.quote import fill

if TYPE_CHECKING:
    from collections.abc import Collection
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
        """Store the goals of an exercise; an empty text removes those of an earlier state.

        If they changed, none of them counts as reached.
        """
        if text != self.goals():
            (self.folder / rundir.REACHED).unlink(missing_ok=True)
        if text:
            with about(self.folder / CHECK):
                write(self.folder / CHECK, text)
        else:
            (self.folder / CHECK).unlink(missing_ok=True)

    def goals(self) -> str:
        """The stored goals; "" if there are none."""
        return _text(self.folder / CHECK)

    def reached(self) -> frozenset[str]:
        """The goals, by their ids, that a check found reached since the lab came up."""
        return frozenset(_text(self.folder / rundir.REACHED).split())

    def keep_reached(self, goals: Collection[str]) -> None:
        """Store the reached goals, if possible: no verdict depends on them."""
        if goals != self.reached():
            with contextlib.suppress(OSError):
                write(self.folder / rundir.REACHED, "".join(f"{goal}\n" for goal in sorted(goals)))

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


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def stored_lab(name: str) -> Lab:
    """The desired state of a running lab; UsageError if no lab has that name."""
    exists = name in labs()
    if exists:
        places.check(name)
    lab = StoredLab(folder(name)).newest() if exists else None
    if lab is None:
        raise no_such_lab(name)
    return lab


def changed_at(name: str) -> int:
    """When the desired state of a lab was stored last, in nanoseconds since 1970; 0 if it does not run."""
    with contextlib.suppress(OSError):
        return (folder(name) / FILE).stat().st_mtime_ns
    return 0


def no_such_lab(name: str) -> UsageError:
    """The error for a lab that does not run: which one may have been meant, or how it comes up."""
    return UsageError(f"there is no running lab {name[:WIDTH]!r}; {_way_on(name)}")


def _way_on(name: str) -> str:
    shipped = names()
    if name in shipped:
        return fill("`nslab up {}` brings it up", name)
    if _is_a_kind(name):
        return fill("the lab comes first, as in `nslab get LAB {}`", name)
    if near := nearest(name, (lab for lab in labs() if lab != name)):
        return f"did you mean {near}?"
    if near := nearest(name, shipped):
        return fill("did you mean {}? `nslab up {}` brings it up", near, near)
    return "`nslab ps` lists those that run"


def _is_a_kind(word: str) -> bool:
    """Whether kubectl would take a word for a kind, or for several."""
    from nslab.lab.resources import meant

    with contextlib.suppress(UsageError):
        for kind in word.split(","):
            if kind != "all":
                meant((), kind)
        return True
    return False
