"""Finds a lab by the name of a shipped one, by the path of a file or a folder, or `-`."""

from __future__ import annotations

from pathlib import Path

from nslab.api.document import STDIN
from nslab.api.words import did_you_mean, shown
from nslab.dataclass import dataclass
from nslab.errors import UsageError

FILE = "lab.yaml"
COURSE = "course.txt"
CHECK = "check.yaml"
PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, slots=True)
class Shipped:
    """A shipped lab; `number` is its guide's (0: not in the course), `about` its file's first comment."""

    number: int
    name: str
    path: Path
    about: str


def find(name_or_path: str) -> Path:
    """The file of a lab, a folder of manifests, or `-`. Names and numbers precede paths: `./NAME` is the folder."""
    name_or_path = by_number(name_or_path)
    if name_or_path in names():
        return folder() / name_or_path / FILE
    if name_or_path == STDIN:
        return Path(STDIN)
    path = Path(name_or_path)
    try:
        if path.is_dir():
            return path / FILE if (path / FILE).exists() else path
        if path.exists():
            return path
    except (OSError, ValueError):
        pass  # too long for a path, or with a character that no path can contain
    known = names()
    advice = did_you_mean(name_or_path, known) or "; `nslab labs` lists what there is"
    raise UsageError(f"there is no lab {shown(name_or_path)}, and no file or folder of that name{advice}")


def by_number(name: str) -> str:
    """The lab whose guide has this number in the course; any other name as it is."""
    course = dict(enumerate(in_course(), 1)) if name.isascii() and name.isdecimal() and len(name) < 4 else {}
    return course.get(int(name), name) if course else name


def names() -> list[str]:
    """The names of the shipped labs: those of the course in its order, then the others."""
    course = in_course()
    return [*course, *sorted(_there() - {*course})]


def in_course() -> list[str]:
    """The names of the labs of the course, in its order."""
    existing = _there()
    # A line that is a name is an entry; all other lines are comments.
    lines = (folder() / COURSE).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line in existing]


def shipped() -> list[Shipped]:
    """The shipped labs, in the order of `names`."""
    numbers = {name: number for number, name in enumerate(in_course(), 1)}
    files = {name: folder() / name / FILE for name in names()}
    return [Shipped(numbers.get(name, 0), name, path, about(path)) for name, path in files.items()]


def _there() -> set[str]:
    return {path.parent.name for path in folder().glob(f"*/{FILE}")}


def about(path: Path) -> str:
    """What a lab shows: the comment in its file's first line; "" if there is none."""
    if not path.is_file():  # a folder, or standard input
        return ""
    with path.open(encoding="utf-8", errors="replace") as file:
        line = file.readline(500)
    return line.lstrip("#").strip() if line.startswith("#") else ""


def check_file(lab_file: Path) -> Path | None:
    """The goals of a lab: `check.yaml` beside its lab.yaml, if it exists; None for a file of another name."""
    goals = lab_file.parent / CHECK
    return goals if lab_file.name == FILE and goals.exists() else None


def folder() -> Path:
    """The folder of the shipped labs: inside the installed package, or beside it in a clone."""
    inside = PACKAGE / "labs"
    return inside if inside.is_dir() else PACKAGE.parent / "labs"
