"""Leaks: everything that is left of a lab after `down`, which must be nothing.

What a test makes in the lab's namespaces ends with them. Links on the machine are not searched: other programs make
such, too.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.linux.netns import IP_NETNS, RUN, folder, named, path
from nslab.linux.processes import procs
from nslab.objects.names import netns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self


class Watch:
    """Holds a lab's namespaces open during `down`, so that the kernel does not reuse their inodes."""

    def __init__(self, lab: str) -> None:
        self._lab = lab
        self._held: dict[int, str] = {}
        self._descriptors: list[int] = []

    def __enter__(self) -> Self:
        for ns in named(self._lab):
            descriptor = os.open(path(ns), os.O_RDONLY | os.O_CLOEXEC)
            self._descriptors.append(descriptor)
            self._held[os.fstat(descriptor).st_ino] = ns
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)

    def left(self) -> list[str]:
        """Return the files, names, mounts and processes that outlived `down`, a line each."""
        return [f"nslab: left of lab {self._lab}: {what}" for what in (*self._names(), *self._mounts(), *self._runs())]

    def _names(self) -> Iterator[str]:
        places = (folder(self._lab), RUN / f"{self._lab}.lock", *IP_NETNS.glob(f"{netns(self._lab, '')}*"))
        yield from (str(place) for place in places if os.path.lexists(place))

    def _mounts(self) -> Iterator[str]:
        for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
            _, _, _, root, point, *_ = line.split()
            number = root.removeprefix("net:[").rstrip("]")
            if number.isdigit() and int(number) in self._held:
                yield f"namespace {self._held[int(number)]} is mounted at {point}"
            elif f"{point}/".startswith(f"{folder(self._lab)}/"):
                yield f"{point} is mounted"

    def _runs(self) -> Iterator[str]:
        for record in procs.processes(self._held, [self._lab], ()):
            if record.state not in "ZX" and record.pid != os.getpid():
                yield f"process {record.pid} ({record.name}) of {record.ns}"
