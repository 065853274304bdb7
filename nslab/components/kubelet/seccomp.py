"""The seccomp filter of containers: containerd's default profile.

The profile is that of containerd's main branch in May 2026 (contrib/seccomp/seccomp_default.go, 1d01a2c43dc4, after
2.3.0) for a container without added capabilities; scripts/seccomp.conf lists it. It refuses keyrings, io_uring, bpf,
perf events, userfaultfd, mounts, namespaces, AF_VSOCK and AF_ALG. Unlike containerd's, it refuses file leases, since
the files are the machine's, and accepts only the machine's native architecture: a system call of another one (i386 on
x86-64) kills the process.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys

from nslab import syscall


class Filter:
    """A filter, laid out for the kernel before any fork, so that its installation takes no memory in a child."""

    def __init__(self, code: bytes) -> None:
        self._code = ctypes.create_string_buffer(code, len(code))
        # struct sock_fprog: the number of instructions (16 bits and padding), and a pointer to them.
        self._program = (ctypes.c_uint64 * 2)(len(code) // 8, ctypes.addressof(self._code))
        program = ctypes.addressof(self._program)
        self._call = syscall.ready_prctl(syscall.PR_SET_SECCOMP, syscall.SECCOMP_MODE_FILTER, program)

    def install(self) -> None:
        """Install it on this thread and all its children, for good. Needs no_new_privs (or CAP_SYS_ADMIN)."""
        self._call()


def load() -> Filter | None:
    """The filter for this machine; None if it is not available."""
    if not available():
        return None
    with open(_file(), "rb") as file:
        return Filter(file.read())


def available() -> bool:
    """Whether nslab has a filter for this machine's architecture, and this kernel supports filters."""
    return sys.maxsize > 1 << 32 and os.path.exists(_file()) and _kernel_filters()


def _file() -> str:
    return os.path.join(os.path.dirname(__file__), f"seccomp.{os.uname().machine}.bpf")


def _kernel_filters() -> bool:
    try:
        syscall.prctl(syscall.PR_SET_SECCOMP, syscall.SECCOMP_MODE_FILTER, 0)
    except OSError as error:
        return error.errno == errno.EFAULT  # supported, but there is no filter at address 0
    return False
