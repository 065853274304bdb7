"""What a node was asked to run: kept, so that its next process can start again what ends or waits.

One request a line, as it came; a later line about a container takes the place of an earlier one.
"""

from __future__ import annotations

import contextlib
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Request = dict[str, Any]
    Key = tuple[str, str]

MOST = 64
"""Lines that may be out of date before those that hold are written anew; and as many more as hold."""


class Journal:
    """The file, and how many of its lines hold."""

    def __init__(self, path: str, later: Callable[[Callable[[], None]], None] = lambda _: None) -> None:
        """`later` calls what it is given in a moment: then is written what was added or removed meanwhile."""
        self._path, self._later = path, later
        self._lines, self._hold = 0, 0
        # Not at once: what is done between two forks is memory of each child that is born (see sandbox.py).
        self._unwritten: list[Request] = []

    def recall(self) -> dict[Key, Request]:
        """What is to run, by namespace and container, as an earlier process of the node was asked."""
        found = self.read()
        if os.path.exists(self._path):
            self._renew(found)  # the last line may have been cut short
        return found

    def read(self) -> dict[Key, Request]:
        """The same, for who only looks."""
        found: dict[Key, Request] = {}
        with contextlib.suppress(OSError), open(self._path, encoding="utf-8") as file:
            for line in file:
                with contextlib.suppress(ValueError, KeyError):
                    entry = json.loads(line)
                    key = entry["ns"], entry["container"]
                    if entry.pop("op") == "add":
                        found[key] = entry
                    else:
                        found.pop(key, None)
        return found

    def add(self, request: Request) -> None:
        """A container is to run."""
        self._hold += 1
        self._append({"op": "add", **request})

    def remove(self, ns: str, container: str) -> None:
        """A container is not to run any more."""
        self._hold -= 1
        self._append(_removal(ns, container))

    def _renew(self, requests: dict[Key, Request]) -> None:
        self._lines = self._hold = len(requests)
        new = f"{self._path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        with contextlib.suppress(OSError):
            _write(new, "".join(json.dumps({"op": "add", **request}) + "\n" for request in requests.values()))
            os.rename(new, self._path)

    def _append(self, entry: Request) -> None:
        if not self._unwritten:
            self._later(self._flush)
        self._unwritten.append(entry)

    def _flush(self) -> None:
        text = "".join(json.dumps(entry) + "\n" for entry in self._unwritten)
        self._lines += len(self._unwritten)
        self._unwritten = []
        # A full file system costs the memory of it, never the node.
        with contextlib.suppress(OSError):
            _write(self._path, text)
        if self._lines > MOST + 2 * self._hold:
            self._renew(self.read())


def forget(path: str, ns: str, container: str) -> None:
    """Tell a node whose process is dead that a container is not to run any more."""
    _write(path, json.dumps(_removal(ns, container)) + "\n")


def _removal(ns: str, container: str) -> Request:
    return {"op": "remove", "ns": ns, "container": container}


def _write(path: str, text: str) -> None:
    # What containers have in their environment is nobody else's business.
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
