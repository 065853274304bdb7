"""Requests many at a time, each answered by one line, in order; the loop."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import time
from ipaddress import IPv4Address
from typing import Any

from nslab.components.runtime.loop import AT_ONCE, REST, Loop, accept
from nslab.components.runtime.peers import Peer
from nslab.linux.processes.agents import _requests
from nslab.objects.container import Sandbox, Workload
from nslab.objects.plan import Add, Remove, Replace


def test_answers_come_in_order_and_nonsense_gets_one_too() -> None:
    loop = Loop()
    ours, theirs = socket.socketpair()
    later: list[Peer] = []

    def answer(peer: Peer, request: dict[str, Any]) -> dict[str, Any] | None:
        if request["op"] == "wait":
            later.append(peer)
            return None
        return {"ok": request["op"]}

    Peer(loop, theirs, answer)
    ours.sendall(b'{"op": 1}\n{"op": "wait"}\nnonsense\n{"no": 1}\n{"op"')
    loop.turn()
    assert ours.recv(4096) == b'{"ok": 1}\n'
    later[0].send({"ok": "waited"})
    first, second, third = (json.loads(line) for line in ours.recv(4096).splitlines())
    assert first == {"ok": "waited"}
    assert "error" in second
    assert "error" in third
    ours.sendall(b": 2}\n")
    loop.turn()
    assert ours.recv(4096) == b'{"ok": 2}\n'
    ours.close()
    loop.turn()
    assert theirs.fileno() == -1


def test_a_moment_comes_once() -> None:
    loop = Loop()
    calls: list[float] = []
    loop.at(time.monotonic() + 0.01, lambda: calls.append(1))
    loop.at(time.monotonic() + 0.02, lambda: calls.append(2))
    while len(calls) < 2:
        loop.turn()
    assert calls == [1, 2]


def test_who_was_forgotten_in_the_same_round_is_not_called() -> None:
    loop = Loop()
    calls: list[int] = []
    pipes = [os.pipe() for _ in range(2)]

    def forget(number: int) -> None:
        calls.append(number)
        for read, _ in pipes:
            loop.forget(read)

    for number, (read, write) in enumerate(pipes):
        loop.watch(read, lambda number=number: forget(number))  # type: ignore[misc]
        os.write(write, b"x")
    loop.turn()
    assert len(calls) == 1
    for pair in pipes:
        for fd in pair:
            os.close(fd)


def test_requests_say_all_that_a_node_needs() -> None:
    pod = Sandbox("nslab.l.pod", "nslab.l.node1", "default", "pod", "uid", "pod", IPv4Address("20.96.0.7"), False, "")
    app = Workload("nslab.l.pod", "nslab.l.node1", "app", ("sleep", "1"), (("A", "b"),), "/", 0)
    (added,) = _requests(Add(pod))
    assert added == {
        "op": "add", "what": "Sandbox", "ns": "nslab.l.pod", "namespace": "default", "pod": "pod", "uid": "uid",
        "hostname": "pod", "share_pid": False, "resolv_conf": "", "address": "20.96.0.7",
    }  # fmt: skip
    assert [request["op"] for request in _requests(Replace(app, app))] == ["remove", "add"]
    (removed,) = _requests(Remove(app))
    assert len(removed["number"]) == 64
    assert json.loads(json.dumps(removed))["env"] == [["A", "b"]]


def test_who_asks_for_much_at_once_does_not_keep_the_others_waiting() -> None:
    loop = Loop()
    greedy, modest = socket.socketpair(), socket.socketpair()
    seen: list[str] = []

    def answer(peer: Peer, request: dict[str, Any]) -> dict[str, Any]:
        seen.append(request["op"])
        return {"ok": True}

    for _, theirs in (greedy, modest):
        Peer(loop, theirs, answer)
    greedy[0].sendall(b'{"op": "much"}\n' * 1000)
    modest[0].sendall(b'{"op": "one"}\n')
    while "one" not in seen:
        loop.turn()
    assert len(seen) <= 3 * AT_ONCE
    heard = b""
    while heard.count(b"\n") < 1000:
        loop.turn()
        heard += greedy[0].recv(1 << 20, socket.MSG_DONTWAIT)
    assert heard == b'{"ok": true}\n' * 1000
    for ours, theirs in (greedy, modest):
        ours.close()
        theirs.close()


def test_who_asks_on_without_waiting_for_an_answer_is_read_no_further() -> None:
    loop = Loop()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    later: list[Peer] = []

    def answer(peer: Peer, request: dict[str, Any]) -> None:
        later.append(peer)

    Peer(loop, theirs, answer)
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < 64 << 20:
            sent += ours.send(b'{"op": "wait"}\n' * 1000)
            loop.at(0, lambda: None)
            loop.turn()
    assert sent < 2 << 20
    for _ in range(3):
        later[-1].send({"ok": True})
    assert len(later) == 4
    ours.close()
    theirs.close()


def test_nobody_is_let_in_for_a_while_when_there_is_no_descriptor_left() -> None:
    loop = Loop()
    door = socket.create_server(("127.0.0.1", 0))
    door.setblocking(False)
    served: list[socket.socket] = []
    accept(loop, door, served.append)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    client = socket.create_connection(door.getsockname())
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        loop.turn()
        began = time.monotonic()
        loop.turn()  # it waits, although somebody is at the door
        assert time.monotonic() - began > REST / 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    while not served:
        loop.turn()
    for sock in (client, door, *served):
        sock.close()
