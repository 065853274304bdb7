"""What containers print, into lines of CRI's format, and back."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from nslab.linux import logs
from nslab.node import crilog

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pod" / "app" / "0.log"


def written(path: Path, *blocks: bytes, end: bool = True) -> list[tuple[str, str]]:
    """Tag and text of each line, after a container printed `blocks`."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    log = crilog.LogFile(str(path))
    stream = crilog.Stream(read, b"stdout", log)
    for block in blocks:
        os.write(write, block)
        assert stream.read()
    os.close(write)
    if end:
        assert not stream.read()
    os.close(read)
    log.close()
    lines = path.read_text().splitlines() if path.exists() else []
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout [FP] ", line) for line in lines)
    return [(line.split(" ")[2], line.split(" ", 3)[3]) for line in lines]


def test_lines(path: Path) -> None:
    assert written(path, b"one\ntwo\n\n") == [("F", "one"), ("F", "two"), ("F", "")]


def test_a_line_in_pieces_of_the_pipe_is_one(path: Path) -> None:
    assert written(path, b"on", b"e\ntw", b"o") == [("F", "one"), ("F", "two")]


def test_a_line_without_end_waits_for_it(path: Path) -> None:
    assert written(path, b"one\ntwo", end=False) == [("F", "one")]


@pytest.mark.parametrize("size", [16383, 16384, 16385, 32768, 32769, 50000])
def test_long_lines_are_cut_at_16_kib(path: Path, size: int) -> None:
    lines = written(path, b"x" * size + b"\n")
    assert [tag for tag, _ in lines] == ["P"] * (len(lines) - 1) + ["F"]
    assert [len(text) for _, text in lines[:-1]] == [16384] * (len(lines) - 1)
    assert 0 < len(lines[-1][1]) <= 16384
    assert [entry.text for entry in logs.read(path)] == ["x" * size]


def test_the_last_that_was_printed_is_kept(path: Path) -> None:
    log = crilog.LogFile(str(path))
    for number in range(1000):
        log.write(b"stdout", [(b"F", b"line %d" % number)])
    assert log.tail.endswith(b"line 998\nline 999\n")
    assert len(log.tail) <= crilog.TAIL
    log.close()


def test_a_log_is_rotated_before_it_is_too_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crilog, "ROTATE_AT", 200)
    log = crilog.LogFile(str(path))
    for number in range(5):
        log.write(b"stdout", [(b"F", b"%d" % number)])
    log.close()
    assert path.stat().st_size <= 200
    assert path.with_name("0.log.1").exists()


LOG = """\
2026-11-22T05:00:00.000000000Z stdout F one
2026-11-22T05:00:01.000000000Z stderr P tw
2026-11-22T05:00:02.000000000Z stdout F between
2026-11-22T05:00:03.000000000Z stderr F o
somebody's scribble
2026-11-22T05:00:04.000000000Z stdout F  three  spaces
"""


def test_reading(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(LOG)
    entries = list(logs.read(path))
    assert [(entry.stream, entry.text) for entry in entries] == [
        ("stdout", "one"),
        ("stdout", "between"),
        ("stderr", "two"),
        ("stdout", " three  spaces"),
    ]
    assert entries[2].timestamp == "2026-11-22T05:00:01.000000000Z"
    assert [entry.text for entry in logs.read(path, tail=1)] == [" three  spaces"]
    assert [entry.text for entry in logs.read(path, tail=0)] == []
    assert [entry.text for entry in logs.read(path, since="2026-11-22T05:00:02")] == ["between", " three  spaces"]
