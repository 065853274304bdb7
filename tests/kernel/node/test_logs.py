"""Logs lie as on a node, in CRI's format, and are read as `nslab logs` reads them."""

from __future__ import annotations

import os
import re
import threading

import pytest
from nodebench import Bench, until

from nslab.linux.processes import logs

pytestmark = pytest.mark.root

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) [FP] .*")


def test_format_and_place(bench: Bench) -> None:
    bench.node()
    script = "echo out; echo err >&2; printf 'no end'"
    bench.start(bench.sandbox("pod-b"), bench.workload("pod-b", "app", "sh", "-c", f"{script}; exec sleep 1000"))
    until(lambda: len(bench.log("pod-b", "app").splitlines()) == 2)
    lines = bench.log("pod-b", "app").splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert sorted(line.split(" ", 1)[1] for line in lines) == ["stderr F err", "stdout F out"]
    folder = bench.run / "nodes/node1/log"
    (link,) = (folder / "containers").iterdir()
    assert re.fullmatch(r"pod-b_default_app-[0-9a-f]{64}\.log", link.name)
    assert os.readlink(link) == "../pods/default_pod-b_uid-pod-b/app/0.log"
    assert link.read_text() == bench.log("pod-b", "app")


def test_what_has_no_line_end_is_logged_at_the_end(bench: Bench) -> None:
    bench.node()
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sh", "-c", "printf end; exec 1>&- 2>&-; sleep 99"))
    until(lambda: bench.log("pod", "app").endswith(" stdout F end\n"))


def test_long_lines_come_in_pieces_and_are_joined(bench: Bench) -> None:
    bench.node()
    script = "head -c 40000 /dev/zero | tr '\\0' x; echo; exec sleep 1000"
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sh", "-c", script))
    until(lambda: " F " in bench.log("pod", "app"))
    lines = bench.log("pod", "app").splitlines()
    assert [(line.split(" ")[2], len(line.split(" ", 3)[3])) for line in lines] == [
        ("P", 16384), ("P", 16384), ("F", 40000 - 2 * 16384),
    ]  # fmt: skip
    path = bench.run / "nodes/node1/log/pods/default_pod_uid-pod/app/0.log"
    assert [(entry.stream, entry.text) for entry in logs.read(path)] == [("stdout", "x" * 40000)]


def test_follows_what_comes(bench: Bench) -> None:
    bench.node()
    script = "mkfifo /tmp/in; exec 3<>/tmp/in; echo ready; while read line <&3; do echo $line; done"
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sh", "-c", script))
    until(lambda: "ready" in bench.log("pod", "app"))
    path = bench.run / "nodes/node1/log/pods/default_pod_uid-pod/app/0.log"
    seen: list[str] = []

    def follow() -> None:
        for entry in logs.read(path, follow=True):
            seen.append(entry.text)
            if entry.text == "last":
                break

    reader = threading.Thread(target=follow)
    reader.start()
    for word in ("first", "second", "last"):
        bench.exec("pod", "container/app", "sh", "-c", f"echo {word} > /tmp/in")
        until(lambda word=word: word in seen)  # type: ignore[misc]
    reader.join(5)
    assert seen == ["ready", "first", "second", "last"]
