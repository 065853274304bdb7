"""`nslab capture`: packets of all interfaces in one file, or as lines."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from nslab.cli.arguments import RunningLab
from nslab.cli.complete import capturable
from nslab.cli.output import flush, need_root, note, say
from nslab.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nslab.app.capture import Capturing


def capture(
    name: RunningLab,
    where: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST[:INTERFACE]...", help="Only these; default: all.", autocompletion=capturable),
    ] = None,
    write: Annotated[
        str, typer.Option("--write", "-w", metavar="FILE", help="Write pcapng to this file; - is standard output.")
    ] = "",
    expression: Annotated[
        str, typer.Option("--filter", metavar="EXPR", help="Only what matches, as tcpdump has it: 'tcp port 80'.")
    ] = "",
    duration: Annotated[
        float | None, typer.Option("--duration", metavar="SECONDS", min=0.0, help="End after so many seconds.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", "-c", metavar="N", min=1, help="End after so many packets.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="A line for each packet, with all the interfaces that it passed.")
    ] = False,
) -> None:
    """Capture packets at all interfaces of a lab.

    It prints a line for each packet, as tcpdump does, with its host and interface, and a comment where NAT rewrote it.
    With --follow, a packet is one line with all its interfaces. With -w it writes all of it into one pcapng file for
    Wireshark, in which each interface has its name (node1:tunl0). Interfaces that come meanwhile are captured, too. It
    ends on Ctrl-C, and says whether packets were lost.

    Example: nslab capture calico-two-node -w - | wireshark -k -i -
    """
    need_root("capture")
    from nslab.app.capture import capturing

    if write and follow:
        raise UsageError("--follow prints lines, and -w writes a file: choose one")
    if write == "-" and sys.stdout.isatty():
        raise UsageError("standard output is a terminal: give a file (-w FILE), or a pipe (-w - | wireshark -k -i -)")
    with capturing(name, where or (), expression) as opened:
        if write:
            with _target(write) as target:
                _begun(opened)
                taken = _write(opened, target, duration, count)
        else:
            _begun(opened)
            taken = (_print_folded if follow else _print)(opened, duration, count)
        received, lost = opened.counts()
        # With a count, packets come after the last one that was wanted.
        number = received if count is None else taken
        note(f"{number} packets" + (f", and {lost} of them lost: nobody read them in time" if lost else "; none lost"))


def _begun(opened: Capturing) -> None:
    number = len(opened.interfaces)
    note(f"capturing at {number} interface{'s' * (number != 1)}; Ctrl-C ends it")


def _write(opened: Capturing, target: BinaryIO, duration: float | None, count: int | None) -> int:
    number = -1  # the file's head is no packet
    with suppress(BrokenPipeError):  # whoever read it has seen enough
        for part in opened.blocks(duration, count):
            target.write(part)
            target.flush()
            number += 1
    return max(number, 0)


def _print(opened: Capturing, duration: float | None, count: int | None) -> int:
    """Print the packets; return their number."""
    from nslab.views.packets import line, width

    number = 0
    for one in opened.packets(duration, count):
        packet, number = one.packet, number + 1
        columns = width(one.name for one in opened.interfaces)
        say(
            line(
                packet.at, one.interface.name, packet.data, ethernet=one.ethernet, outgoing=packet.outgoing,
                comment=one.comment, columns=columns,
            )
        )  # fmt: skip
        flush()
    return number


def _print_folded(opened: Capturing, duration: float | None, count: int | None) -> int:
    from nslab.views.packets import folded_line

    number = 0
    for packet in opened.folded(duration, count):
        say(folded_line(packet))
        flush()
        number += 1
    return number


@contextmanager
def _target(write: str) -> Iterator[BinaryIO]:
    """Standard output, or a new file that only the caller can read: packets may have what is nobody's business."""
    from nslab.linux.handed_over import opened

    if write == "-":
        yield sys.stdout.buffer
        return
    try:
        descriptor = opened(write)
    except OSError as error:
        raise UsageError(f"{write}: {os.strerror(error.errno or 0)}") from None
    try:
        with os.fdopen(descriptor, "wb", buffering=1 << 20) as file:
            yield file
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            error.filename = write
        raise
