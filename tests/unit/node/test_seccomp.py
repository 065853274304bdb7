"""The filter of system calls, run here instruction by instruction, and held against what libseccomp makes."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import TYPE_CHECKING

import pytest

from scripts import seccomp
from scripts.seccomp import ALLOW, ARCHITECTURES, KILL, REFUSE, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS = seccomp.read(seccomp.TABLE.read_text())
CODE = {path.suffixes[0][1:]: code for path, code in seccomp.files().items()}
ALL = (1 << 64) - 1
NAMESPACES = (1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30)
"""What clone takes for them: mnt, cgroup, uts, ipc, user, pid, net."""
ARGUMENTS = sorted(
    {*range(64), 0x20000, 0x20007, 0x20008, 0x20009, 0xFFFFFFFE, 0xFFFFFFFF, 0x01200011, 0x003D0F00, *NAMESPACES}
)
"""First arguments that some rule may tell apart; each is tried with bits above the 32nd, too."""
EQ, LT, MASKED_EQ = 4, 2, 7
CONDITIONS: dict[str, list[tuple[int, int, int]]] = {
    "socket": [(LT, 38, 0), *((EQ, family, 0) for family in (39, 41, 42, 43, 44, 45))],
    "personality": [(EQ, value, 0) for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)],
    "clone": [(MASKED_EQ, sum(NAMESPACES), 0)],
}
"""Under which one of several the profile allows a call, as containerd writes it: operator, value, and second value."""


def run(code: bytes, number: int, arch: int, argument: int = 0, second: int = 0) -> int:
    """What a filter says to a call."""
    signed = struct.unpack("<i", struct.pack("<I", number))[0]
    data = struct.pack("<iIQ6Q", signed, arch, 0, argument, second, *[0] * 4)
    lines = [*struct.iter_unpack("<HBBI", code)]
    at = held = 0
    while True:
        operation, then, other, value = lines[at]
        at += 1
        match operation:
            case 0x20:
                (held,) = struct.unpack_from("<I", data, value)
            case 0x54:
                held &= value
            case 0x05:
                at += value
            case 0x15:
                at += then if held == value else other
            case 0x25:
                at += then if held > value else other
            case 0x35:
                at += then if held >= value else other
            case 0x45:
                at += then if held & value else other
            case 0x06:
                return int(value)
            case _:
                raise AssertionError(f"instruction {at - 1} is {operation:#x}")


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    """libseccomp, whatever release of it is here."""
    try:
        lib = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        pytest.skip("libseccomp.so.2 is not here (Debian: apt install libseccomp2)")
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_arch_native.restype = ctypes.c_uint32
    return lib


def known(lib: ctypes.CDLL, name: str) -> bool:
    """Whether this release of libseccomp has heard of a call."""
    return bool(lib.seccomp_syscall_resolve_name(name.encode()) != -1)


def made_by(lib: ctypes.CDLL, arch: int) -> bytes:
    """The profile as libseccomp compiles it: by name, with containerd's own conditions."""
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(REFUSE)))
    native = lib.seccomp_arch_native()
    if native != arch:
        assert lib.seccomp_arch_add(context, ctypes.c_uint32(arch)) == 0
        assert lib.seccomp_arch_remove(context, ctypes.c_uint32(native)) == 0
    bad_arch = 2
    assert lib.seccomp_attr_set(context, bad_arch, ctypes.c_uint32(KILL)) == 0
    for row in ROWS:
        if known(lib, row.name):
            _add(lib, context, row.name)
    file = os.memfd_create("filter")
    try:
        assert lib.seccomp_export_bpf(context, file) == 0
        return os.pread(file, 1 << 20, 0)
    finally:
        os.close(file)
        lib.seccomp_release(context)


def _add(lib: ctypes.CDLL, context: ctypes.c_void_p, name: str) -> None:
    number = lib.seccomp_syscall_resolve_name(name.encode())
    action = ctypes.c_uint32(UNKNOWN if name == "clone3" else ALLOW)
    if name not in CONDITIONS:
        assert lib.seccomp_rule_add_array(context, action, number, 0, None) == 0, name
    for operator, value, second in CONDITIONS.get(name, ()):
        compare = (ctypes.c_uint64 * 3)(
            operator << 32, value, second
        )  # struct scmp_arg_cmp: argument 0 in the low half
        assert lib.seccomp_rule_add_array(context, action, number, 1, compare) == 0, name


def cases(arch: str) -> Iterator[tuple[int, int]]:
    """Every number and first argument that may matter."""
    special = {row.numbers[arch] for row in ROWS if arch in row.numbers and row.condition}
    for number in range(last(arch) + 1):
        for argument in ARGUMENTS if number in special else (0, 40):
            yield from ((number, argument), (number, argument | 1 << 32), (number, argument | 0xFFFFFFFF << 32))


def last(arch: str) -> int:
    """The highest number that the table has."""
    return max(row.numbers[arch] for row in ROWS if arch in row.numbers)


def test_what_is_shipped_is_what_the_table_says() -> None:
    for path, code in seccomp.files().items():
        assert path.read_bytes() == code, "scripts/seccomp.py makes it anew"
    assert all(len(code) < 1200 for code in CODE.values())


def test_the_table_is_in_order_and_no_number_stands_twice() -> None:
    names = [row.name for row in ROWS]
    assert names == sorted(set(names))
    for arch in ARCHITECTURES:
        numbers = [row.numbers[arch] for row in ROWS if arch in row.numbers]
        assert len(numbers) == len(set(numbers)) > 250


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_numbers_are_those_that_libseccomp_knows(library: ctypes.CDLL, arch: str) -> None:
    of = {row.name: row.numbers.get(arch) for row in ROWS if known(library, row.name)}
    found = {
        name: library.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(ARCHITECTURES[arch]), name.encode())
        for name in of
    }
    assert of == {name: number if number >= 0 else None for name, number in found.items()}
    assert len(of) > 290


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_says_what_libseccomps_filter_says(library: ctypes.CDLL, arch: str) -> None:
    theirs, unknown = made_by(library, ARCHITECTURES[arch]), set()
    for row in ROWS:
        if arch in row.numbers and not known(library, row.name):
            unknown.add(row.numbers[arch])
    differing = [
        (number, hex(argument))
        for number, argument in cases(arch)
        if number not in unknown
        and run(CODE[arch], number, ARCHITECTURES[arch], argument) != run(theirs, number, ARCHITECTURES[arch], argument)
    ]
    assert differing == []


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_says_what_the_table_says(arch: str) -> None:
    rows = {row.numbers[arch]: row for row in ROWS if arch in row.numbers}
    for number, argument in cases(arch):
        row = rows.get(number)
        assert run(CODE[arch], number, ARCHITECTURES[arch], argument) == verdict(row, argument), (row, hex(argument))


def verdict(row: seccomp.Row | None, argument: int) -> int:
    """What a row means, said in Python."""
    match row and row.condition:
        case None:
            return REFUSE
        case () | ("but", *_):
            return ALLOW  # of what is asked here, the second argument is 0
        case ("ENOSYS",):
            return UNKNOWN
        case ("without", bits):
            return REFUSE if argument & int(bits, 0) else ALLOW
        case ("only", *words):
            pairs = (word.partition("-") for word in words)
            return ALLOW if any(int(a, 0) <= argument <= int(b or a, 0) for a, _, b in pairs) else REFUSE
        case other:
            raise AssertionError(other)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_fcntl_gives_no_leases(arch: str) -> None:
    fcntl = {"x86_64": 72, "aarch64": 25}[arch]
    commands = [*range(2048), 0xFFFFFFFF]
    output = {command: run(CODE[arch], fcntl, ARCHITECTURES[arch], second=command) for command in commands}
    assert [command for command in commands if output[command] != ALLOW] == [1024, 1040]
    # The kernel takes it for an unsigned int.
    assert run(CODE[arch], fcntl, ARCHITECTURES[arch], second=1024 | 1 << 32) == REFUSE


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_what_is_newer_than_the_profile_is_no_call(library: ctypes.CDLL, arch: str) -> None:
    theirs = made_by(library, ARCHITECTURES[arch])
    x32 = 1 << 30
    for number in (
        *range(last(arch) + 1, last(arch) + 200),
        *range(x32, x32 + 600),
        0x7FFFFFFF,
        0x80000000,
        0xFFFFFFFF,
    ):
        assert run(CODE[arch], number, ARCHITECTURES[arch]) == UNKNOWN
        assert run(theirs, number, ARCHITECTURES[arch]) in (REFUSE, KILL)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_calls_of_another_architecture_kill(library: ctypes.CDLL, arch: str) -> None:
    theirs = made_by(library, ARCHITECTURES[arch])
    others = {0x40000003, 0x40000028, 0xC00000F3, 0x14, 0, *ARCHITECTURES.values()} - {ARCHITECTURES[arch]}
    for other in others:
        for number in range(0, 500, 7):
            assert run(CODE[arch], number, other) == run(theirs, number, other) == KILL


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_kernels_can_tell_beforehand_what_is_always_allowed(arch: str) -> None:
    """Only of these instructions, seccomp_is_const_allow() of kernel/seccomp.c knows the outcome without a call."""
    lines = [*struct.iter_unpack("<HBBI", CODE[arch])]
    assert {code for code, *_ in lines} == {0x20, 0x15, 0x35, 0x45, 0x06}
    assert {value for code, _, _, value in lines if code == 0x06} == {ALLOW, REFUSE, UNKNOWN, KILL}
    assert (REFUSE & 0xFFFF, UNKNOWN & 0xFFFF) == (errno.EPERM, errno.ENOSYS)


@pytest.mark.skipif(platform.machine() not in ARCHITECTURES, reason="nslab has no filter for this architecture")
def test_there_is_one_for_this_machine() -> None:
    from nslab.components.kubelet import seccomp as shipped

    assert shipped.load() is not None
    assert shipped.available()
