"""What both sides of a line of requests do: lines, and descriptors beside them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nslab.components.runtime.loop import Loop
from nslab.components.runtime.peers import Peer
from nslab.runtime import rpc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = socket.socketpair()
    yield made
    for one in made:
        one.close()


def _fill(one: socket.socket) -> None:
    """Send until nothing more goes."""
    with contextlib.suppress(BlockingIOError):
        while True:
            rpc.send(one, bytes(1 << 16))


@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers())), st.integers(1, 20))
def test_lines_come_out_as_they_went_in_however_they_are_cut(messages: list[dict[str, Any]], size: int) -> None:
    sent, lines = b"".join(map(rpc.line, messages)), rpc.Lines()
    came = [line for at in range(0, len(sent), size) for line in lines.take(sent[at : at + size])]
    assert list(map(json.loads, came)) == messages


def test_a_line_without_an_end_is_too_long_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "LONGEST", 5)
    lines = rpc.Lines()
    assert lines.take(b"12345") == []
    with pytest.raises(ValueError, match="line too long"):
        lines.take(b"6")


def test_no_program_inherits_a_descriptor_that_came(pair: Pair) -> None:
    rpc.send_descriptors(pair[0], b"two", [0, 1])
    data, descriptors = rpc.receive_descriptors(pair[1], 100, 2)
    assert data == b"two"
    assert [fcntl.fcntl(fd, fcntl.F_GETFD) for fd in descriptors] == [fcntl.FD_CLOEXEC] * 2
    for fd in descriptors:
        os.close(fd)


def test_descriptors_come_all_or_none(pair: Pair) -> None:
    rpc.send_descriptors(pair[0], b"two", [0, 1])
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, before[1]))
    try:
        assert rpc.receive_descriptors(pair[1], 100, 2) == (b"two", ())
        os.close(os.dup(0))  # the one that came was closed
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_nothing_waits_for_who_does_not_read(pair: Pair) -> None:
    with pytest.raises(BlockingIOError):
        rpc.receive(pair[0])
    _fill(pair[0])
    with pytest.raises(BlockingIOError):
        rpc.send(pair[0], b"1")


def test_who_is_handed_descriptors_and_does_not_read_is_hung_up_on(pair: Pair) -> None:
    peer = Peer(Loop(), pair[0], lambda _, request: request)
    _fill(pair[0])
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, (2).to_bytes(8, "little") + bytes(8))
    began = time.monotonic()
    peer.hand_over({"ok": True}, [0])
    assert time.monotonic() - began < 1
    assert pair[0].fileno() == -1


def test_a_path_may_be_longer_than_an_address(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 100) / ("b" * 60)
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        with rpc.address(path) as address:
            door.bind(address)
        door.listen()
        rpc.connect(path).close()
    with pytest.raises(ConnectionRefusedError):
        rpc.connect(path)
