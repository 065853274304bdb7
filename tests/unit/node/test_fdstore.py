"""Descriptors that lie in the queue of a socket: whose they are, and that none is lost or left."""

from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from nslab.components.kubelet import fdstore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.components.kubelet.fdstore import Store


@pytest.fixture
def store() -> Iterator[Store]:
    before = opened()
    made = fdstore.new()
    yield made
    made.close()
    assert opened() <= before, "pipes or sockets are left"


def opened() -> set[str]:
    """What is open, by the kernel's own names."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            found.add(os.readlink(f"/proc/self/fd/{number}"))
    return {name for name in found if name.startswith(("pipe:", "socket:"))}


def put(store: Store, container: str, attempt: int) -> None:
    """Two pipes in which there is a text; the store alone holds their read ends."""
    pairs = os.pipe(), os.pipe()
    for stream, (_, write) in zip(("out", "err"), pairs, strict=True):
        os.write(write, f"{container} {attempt} {stream}".encode())
        os.close(write)
    (out, _), (err, _) = pairs
    store.keep(container, attempt, (out, err, -1))
    os.close(out)
    os.close(err)


def texts(store: Store) -> dict[str, tuple[int, str, str]]:
    """What is in there: runs and texts, which are read."""
    found = {}
    for container, (attempt, (out, err, report)) in store.found().items():
        found[container] = attempt, os.read(out, 99).decode(), os.read(err, 99).decode()
        assert report == -1
        os.close(out)
        os.close(err)
    return found


def test_what_was_put_in_is_found_by_container(store: Store) -> None:
    put(store, "app", 0)
    put(store, "web", 7)
    assert texts(store) == {"app": (0, "app 0 out", "app 0 err"), "web": (7, "web 7 out", "web 7 err")}
    assert texts(store) == {"app": (0, "", ""), "web": (7, "", "")}, "the same pipes, again"


def test_a_container_is_let_go_of(store: Store) -> None:
    for container in ("app", "web", "app-2"):
        put(store, container, 0)
    store.drop("app")
    put(store, "app", 1)
    store.drop("none")
    assert {name: run for name, (run, *_) in texts(store).items()} == {"web": 0, "app-2": 0, "app": 1}


def test_the_last_run_counts(store: Store) -> None:
    """Who was killed while it let go of the one before has left that, too."""
    put(store, "app", 0)
    put(store, "app", 1)
    assert texts(store) == {"app": (1, "app 1 out", "app 1 err")}
    store.drop("app")
    assert texts(store) == {}


def test_a_full_one_keeps_what_it_has(store: Store) -> None:
    for number in range(400):
        put(store, f"c{number}", 0)
    kept = texts(store)
    assert 100 < len(kept) < 400
    store.drop("c0")
    assert {*texts(store)} == {*kept} - {"c0"}


def test_a_process_without_one_has_none() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin
        assert other.stdout
        other.stdin.write(b"x")
        other.stdin.flush()
        assert other.stdout.read(1) == b"x", "it runs, and has three descriptors"
        pidfd = os.pidfd_open(other.pid)
        assert fdstore.of(pidfd) is None
        os.close(pidfd)
        other.stdin.close()
