"""A call made in a forked child, which may give up rights for good, and what came of it."""

from __future__ import annotations

import ctypes
import errno
import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def forked(call: Callable[[], Any]) -> tuple[int, str]:
    """How a child ended (its exit status, or minus the signal), and what its call returned, as JSON."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.write(write, json.dumps(call()).encode())
            status = 0
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as file:
        answer = file.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), answer


def attempt(number: int, *arguments: int) -> str:
    """Make a system call; the name of its error, or ok."""
    libc = ctypes.CDLL(None, use_errno=True)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_ulong, (*arguments, 0, 0, 0, 0, 0, 0)[:6]))
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "ok"


def of_child(call: Callable[[], Any]) -> Any:
    """What a call returns in a child that nothing happens to."""
    status, answer = forked(call)
    assert status == 0, (status, answer)
    return json.loads(answer)
