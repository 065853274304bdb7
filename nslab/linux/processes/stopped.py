"""Processes of a lab that are there and do nothing: somebody stopped them (SIGSTOP), or a debugger holds them."""

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
    """Those with a role that stand still."""
    return [record for record in records if record.role and record.state in STATES]


def resume(records: Iterable[Record]) -> list[Record]:
    """Let those that stand still go on; which they are."""
    found = stopped(records)
    for record in found:
        with contextlib.suppress(OSError):  # it ended meanwhile
            descriptor = os.pidfd_open(record.pid)
            try:
                # Asked after the pidfd was opened: from then on the number cannot become another process's unnoticed.
                if start_of(record.pid) == record.start:
                    signal.pidfd_send_signal(descriptor, signal.SIGCONT)
            finally:
                os.close(descriptor)
    return found
