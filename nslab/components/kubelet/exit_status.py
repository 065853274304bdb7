"""What the exit status of a process means: the exit code and the reason that kubectl shows, and a sentence."""

from __future__ import annotations

import signal

UNKNOWN = -256
"""The exit status of a process whose parent was an earlier nslab-node: init reaped it."""
OOM_KILLED = "OOMKilled"


def exit_code(status: int) -> int:
    """The exit code of a container runtime: 128 + signal. An unknown status counts as SIGKILL, as in the kubelet."""
    return 128 + signal.SIGKILL if status == UNKNOWN else status if status >= 0 else 128 - status


def reason_of(status: int, started: bool, oom: bool = False) -> str:
    """The kubelet's reason for the end of a container. `oom`: the OOM killer was active in it."""
    if oom and status:
        return OOM_KILLED
    if status == UNKNOWN:
        return "ContainerStatusUnknown"
    if not started:
        return "StartError"
    return "Error" if status else "Completed"


def words(status: int) -> str:
    """How a process ended, for people."""
    if status == UNKNOWN:
        return "ended"
    if status >= 0:
        return f"exited with {status}"
    known = -status in signal.valid_signals() and -status < signal.SIGRTMIN
    return f"killed by {signal.Signals(-status).name if known else f'signal {-status}'}"
