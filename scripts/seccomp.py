"""Compile scripts/seccomp.conf, the table of system calls, to classic BPF: components/kubelet/*.bpf.

A filter is a tree of comparisons with the call's number: a call costs about seven of them. Kernels since 5.11 cache
which calls a filter always allows, so that these cost nothing. The kernel's check for that understands only the
instructions used here: loads of number and architecture, comparisons with constants, returns of constants.
"""

from __future__ import annotations

import errno
import itertools
import struct
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TABLE = ROOT / "scripts/seccomp.conf"
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""The names of uname(2), in the order of the table's columns, and seccomp's numbers (AUDIT_ARCH_…)."""

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCHITECTURE, ARGUMENT, SECOND = 0, 4, 16, 24
"""Offsets in struct seccomp_data. The low half of an argument comes first on both architectures."""
ALLOW, REFUSE, UNKNOWN, KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS, 0x80000000


class Row(NamedTuple):
    """A line of the table: numbers by architecture, and the words of its condition."""

    name: str
    numbers: dict[str, int]
    condition: tuple[str, ...]


class Jump(NamedTuple):
    """One instruction; `then` and `other` are the labels to jump to, or "" for the next instruction."""

    code: int
    value: int
    then: str = ""
    other: str = ""


class Program:
    """Instructions, and the positions of labels."""

    def __init__(self) -> None:
        self.lines: list[Jump] = []
        self.places: dict[str, int] = {}

    def label(self, name: str) -> None:
        """Label the next instruction."""
        self.places[name] = len(self.lines)

    def add(self, *lines: Jump) -> None:
        """Append instructions."""
        self.lines += lines

    def code(self) -> bytes:
        """The program for the kernel: an array of struct sock_filter."""
        return b"".join(
            struct.pack("<HBBI", line.code, self._way(at, line.then), self._way(at, line.other), line.value)
            for at, line in enumerate(self.lines)
        )

    def _way(self, at: int, label: str) -> int:
        return self.places[label] - at - 1 if label else 0


def read(text: str) -> list[Row]:
    """The rows of the table."""
    lines = (line.split() for line in text.splitlines() if line and line[0] != "#")
    return [
        Row(name, {arch: int(n) for arch, n in zip(ARCHITECTURES, numbers, strict=True) if n != "-"}, tuple(condition))
        for name, *numbers, condition in ((name, a, b, condition) for name, a, b, *condition in lines)
    ]


def assemble(rows: list[Row], arch: str) -> bytes:
    """The filter for an architecture."""
    program = Program()
    program.add(Jump(LOAD, ARCHITECTURE), Jump(EQUAL, ARCHITECTURES[arch], other="kill"), Jump(LOAD, NUMBER))
    mine = [row for row in rows if arch in row.numbers]
    targets = {row.numbers[arch]: _target(row) for row in mine}
    last = max(targets)
    # Larger numbers include x32's (bit 30), and -1, with which a tracer skips a call.
    tree(program, [*runs([targets.get(number, "refuse") for number in range(last + 1)]), (last + 1, "unknown")])
    for row in mine:
        if row.condition and _target(row) == row.name:
            check(program, row)
    for label, verdict in (("allow", ALLOW), ("refuse", REFUSE), ("unknown", UNKNOWN), ("kill", KILL)):
        program.label(label)
        program.add(Jump(RETURN, verdict))
    return program.code()


def _target(row: Row) -> str:
    """The label for a call's number."""
    if not row.condition:
        return "allow"
    return "unknown" if row.condition == ("ENOSYS",) else row.name


def runs(labels: list[str]) -> list[tuple[int, str]]:
    """The start of each run of the same label."""
    return [(at, new) for at, (old, new) in enumerate(itertools.pairwise(["", *labels])) if old != new]


def tree(program: Program, cases: list[tuple[int, str]], name: str = "") -> None:
    """Jump to the label of the last case that begins at or below the loaded value; the first begins at 0."""
    middle = len(cases) // 2
    below, above = cases[:middle], cases[middle:]
    ways = {f"{name}<": below, f"{name}>": above}
    low, high = (some[0][1] if len(some) == 1 else label for label, some in ways.items())
    program.add(Jump(AT_LEAST, above[0][0], high, low))
    for label, some in ways.items():
        if len(some) > 1:
            program.label(label)
            tree(program, some, label)


def check(program: Program, row: Row) -> None:
    """Allow a call by its first argument, or its second."""
    program.label(row.name)
    match row.condition:
        case ("without", bits):
            program.add(Jump(LOAD, ARGUMENT), Jump(ANY_BIT, int(bits, 0), "refuse", "allow"))
        case ("only", *some):
            program.add(Jump(LOAD, ARGUMENT + 4), Jump(EQUAL, 0, other="refuse"), Jump(LOAD, ARGUMENT))
            tree(program, ranges(some), row.name)
        case ("but", *some):
            program.add(Jump(LOAD, SECOND), *(Jump(EQUAL, int(value, 0), "refuse") for value in some))
            program.add(Jump(RETURN, ALLOW))
        case condition:
            raise ValueError(f"{row.name}: {' '.join(condition)}")


def ranges(words: list[str]) -> list[tuple[int, str]]:
    """The ends of the allowed ranges: their starts, and the first values after them."""
    cases: dict[int, str] = {0: "refuse"}
    for first, _, last in (word.partition("-") for word in words):
        cases[int(first, 0)] = "allow"
        cases[int(last or first, 0) + 1] = "refuse"
    return [case for case in sorted(cases.items()) if case[0] < 1 << 32]


def files() -> dict[Path, bytes]:
    """The files to write, and their contents."""
    rows = read(TABLE.read_text())
    return {ROOT / f"nslab/components/kubelet/seccomp.{arch}.bpf": assemble(rows, arch) for arch in ARCHITECTURES}


if __name__ == "__main__":
    for path, content in files().items():
        path.write_bytes(content)
        print(f"{path.relative_to(ROOT)}: {len(content)} bytes")
