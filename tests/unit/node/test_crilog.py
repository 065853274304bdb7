"""What containers print, into lines of CRI's format, and back."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from nslab.components.kubelet import crilog
from nslab.linux.processes import logs

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
        stream.drain()
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


def test_of_what_waits_a_block_is_read_at_a_time(path: Path) -> None:
    read, write = os.pipe()
    os.set_blocking(read, False)
    log = crilog.LogFile(str(path))
    stream = crilog.Stream(read, b"stdout", log)
    os.write(write, (b"x" * 63 + b"\n") * 1000)
    assert stream.read()
    assert (stream.full, len(path.read_text().splitlines())) == (True, 256)
    stream.drain()
    assert (stream.full, len(path.read_text().splitlines())) == (False, 1000)
    for fd in (read, write):
        os.close(fd)
    log.close()


def test_a_container_keeps_two_files_however_often_it_starts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crilog, "ROTATE_AT", 200)
    kept = []
    for attempt in range(3):
        log = crilog.log_file(str(path.parent), attempt)
        log.write(b"stdout", [(b"F", b"begun")])
        kept.append(sorted(os.listdir(path.parent)))
        for _ in range(9):
            log.write(b"stdout", [(b"F", b"printed")])
        kept.append(sorted(os.listdir(path.parent)))
        log.close()
    assert kept == [["0.log"], ["0.log", "0.log.1"], ["0.log", "1.log"], ["1.log", "1.log.1"], ["1.log", "2.log"],
                    ["2.log", "2.log.1"]]  # fmt: skip
    assert all(file.stat().st_size <= 200 for file in path.parent.iterdir())


def test_where_logs_take_too_much_of_the_memory_they_are_kept_small(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crilog, "CROWDED_AT", 1000)
    monkeypatch.setattr(crilog, "MEMORY_SHARE", 1 << 60)
    log = crilog.LogFile(str(path))
    for _ in range(200):
        log.write(b"stdout", [(b"F", b"printed")])
    log.close()
    assert sum(file.stat().st_size for file in path.parent.iterdir()) <= 4000


def test_a_log_that_cannot_be_made_anew_costs_lines_and_nobody_else_s_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crilog, "ROTATE_AT", 100)
    log = crilog.LogFile(str(path))
    log.write(b"stdout", [(b"F", b"x" * 50)])
    path.with_name("0.log.1").mkdir()  # so that it cannot be rotated
    log.write(b"stdout", [(b"F", b"y" * 50)])
    other = os.open(os.devnull, os.O_RDONLY)
    log.close()
    os.close(other)
    assert b"y" not in path.read_bytes()


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
