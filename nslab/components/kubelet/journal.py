"""What a node was asked to run: kept, so that its next process can start again what ends or waits.

One request a line, as it came; a later line about a container takes the place of an earlier one.
"""

from __future__ import annotations

import contextlib
import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nslab.components.runtime.loop import Loop

    Request = dict[str, Any]
    Key = tuple[str, str]

MOST = 64
"""Lines that may be out of date before those that hold are written anew; and as many more as hold."""


class Journal:
    """The file, and how many of its lines hold. What is added or removed is written in this turn of the loop."""

    def __init__(self, loop: Loop, path: str) -> None:
        self._loop, self._path = loop, path
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
                    said = json.loads(line)
                    key = said["ns"], said["container"]
                    if said.pop("op") == "add":
                        found[key] = said
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
        self._append({"op": "remove", "ns": ns, "container": container})

    def _renew(self, requests: dict[Key, Request]) -> None:
        self._lines = self._hold = len(requests)
        new = f"{self._path}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        with contextlib.suppress(OSError):
            self._write(new, "".join(json.dumps({"op": "add", **request}) + "\n" for request in requests.values()))
            os.rename(new, self._path)

    def _append(self, said: Request) -> None:
        if not self._unwritten:
            self._loop.at(0, self._flush)
        self._unwritten.append(said)

    def _flush(self) -> None:
        text = "".join(json.dumps(said) + "\n" for said in self._unwritten)
        self._lines += len(self._unwritten)
        self._unwritten = []
        # A full file system costs the memory of it, never the node.
        with contextlib.suppress(OSError):
            self._write(self._path, text)
        if self._lines > MOST + 2 * self._hold:
            self._renew(self.read())

    def _write(self, path: str, text: str) -> None:
        # What containers have in their environment is nobody else's business.
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
