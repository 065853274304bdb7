"""Stopped processes of a lab: by SIGSTOP, or held by a debugger."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from nslab.runtime.trust import start_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nslab.linux.processes.procs import Record

STATES = "Tt"


def stopped(records: Iterable[Record]) -> list[Record]:
    """The stopped ones among the processes with a role."""
    return [record for record in records if record.role and record.state in STATES]


def resume(records: Iterable[Record]) -> list[Record]:
    """Continue the stopped processes (SIGCONT) and return them."""
    found = stopped(records)
    for record in found:
        with contextlib.suppress(OSError):  # it has ended
            descriptor = os.pidfd_open(record.pid)
            try:
                # Checked after pidfd_open: a pidfd never refers to another process that reuses the pid.
                if start_of(record.pid) == record.start:
                    signal.pidfd_send_signal(descriptor, signal.SIGCONT)
            finally:
                os.close(descriptor)
    return found
