"""The packets of one test, captured by tcpdump on every node (--nslab-capture)."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nslab.linux import lifecycle
from nslab.linux.netns import Namespaces
from nslab.net.names import netns
from nslab.plugin.evidence import bounded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PACKETS = 5000
_SECONDS = 5.0
_COMMAND = ("tcpdump", "-i", "any", "-n", "-U", "--immediate-mode", "-s", "256", "-c", str(_PACKETS), "-w", "-")


class Capture:
    """A folder with a file for each node; it goes with the test, unless the test failed."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="nslab-"))
        self._running: list[subprocess.Popen[bytes]] = []
        self._shown = False

    def start(self, spaces: Namespaces, lab: str, node: str) -> None:
        """Listen on all of a node's interfaces; returns when tcpdump does."""
        spaces.enter(netns(lab, node))
        with (self._folder / f"{lab}.{node}.pcap").open("wb") as file:
            process = subprocess.Popen(_COMMAND, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE)
        self._running.append(process)
        assert process.stderr
        heard, deadline = b"", time.monotonic() + _SECONDS
        while b"listening on" not in heard:
            ready, _, _ = select.select([process.stderr], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(process.stderr.fileno(), 4096) if ready else b""
            if not more:
                raise RuntimeError(f"tcpdump on {node} does not begin: {heard.decode(errors='replace').strip()}")
            heard += more

    def stop(self) -> None:
        """Have them write what they have, and end."""
        for process in self._running:
            process.send_signal(signal.SIGINT)
        for process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_SECONDS)
            process.kill()
            process.wait()
        self._running.clear()

    def sections(self) -> Iterator[tuple[str, str]]:
        """Title and text of each; the text says where the packets lie, for Wireshark."""
        self._shown = True
        for file in sorted(self._folder.iterdir()):
            read = subprocess.run(["tcpdump", "-n", "-r", str(file)], capture_output=True, text=True, check=False)
            yield f"packets on {file.name.split('.')[1]}", f"{file}\n{bounded(read.stdout.splitlines())}"

    def discard(self) -> None:
        """Remove what nobody was shown."""
        if not self._shown:
            shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def capturing(labs: Sequence[str]) -> Iterator[Capture]:
    """Listen on all nodes of these labs."""
    capture = Capture()
    try:
        with Namespaces() as spaces:
            for lab in labs:
                for node in lifecycle.wished(lab).nodes:
                    capture.start(spaces, lab, node.name)
        yield capture
    finally:
        capture.stop()
