"""Which system calls a container may make: containerd's default profile, as a filter that the kernel runs at each.

The profile is that of containerd's main branch in May 2026 (contrib/seccomp/seccomp_default.go, 1d01a2c43dc4, after
2.3.0) for the capabilities of a container that asks for none; scripts/seccomp.conf lists it. No keyrings, io_uring,
bpf, perf events, userfaultfd, mounts, namespaces, AF_VSOCK or AF_ALG. Unlike containerd's it gives no leases of files,
which are the machine's, and takes calls of this machine's own architecture only: a process that makes one of another
(i386's on x86-64) is killed.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from nslab import syscall


class Filter:
    """A filter, laid out as the kernel wants it before any process is forked, so that to install it costs no memory."""

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        # struct sock_fprog: the number of instructions (16 bits, and a gap), and where they are.
        self._program = (ctypes.c_uint64 * 2)(len(code) // 8, ctypes.addressof(self._code))
        program = ctypes.addressof(self._program)
        self._call = syscall.ready_prctl(syscall.PR_SET_SECCOMP, syscall.SECCOMP_MODE_FILTER, program)

    def install(self) -> None:
        """Put it on this thread, and all that it starts, for good. Wants no_new_privs (or CAP_SYS_ADMIN)."""
        self._call()


def load() -> Filter | None:
    """The filter for this machine; None where there is none to have (see `available`)."""
    if not available():
        return None
    with open(_file(), "rb") as file:
        return Filter(file.read())


def available() -> bool:
    """Whether nslab has a filter for this machine's architecture, and this kernel takes any."""
    return sys.maxsize > 1 << 32 and os.path.exists(_file()) and _kernel_filters()


def _file() -> str:
    return os.path.join(os.path.dirname(__file__), f"seccomp.{os.uname().machine}.bpf")


def _kernel_filters() -> bool:
    try:
        syscall.prctl(syscall.PR_SET_SECCOMP, syscall.SECCOMP_MODE_FILTER, 0)
    except OSError as error:
        return error.errno == errno.EFAULT  # it would take one, but there is none at address 0
    return False
