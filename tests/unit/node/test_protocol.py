"""Requests many at a time, each answered by one line, in order; the loop."""

from __future__ import annotations

import json
import os
import socket
import time
from ipaddress import IPv4Address
from typing import Any

from nslab.linux.agents import _requests
from nslab.net.objects import Sandbox, Workload
from nslab.net.steps import Add, Remove, Replace
from nslab.node.loop import Loop
from nslab.node.peers import Peer


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
