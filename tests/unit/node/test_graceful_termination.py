"""Real servers of IPVS stay until the last connection to them has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.components.kubeproxy.graceful_termination import GracefulTermination

if TYPE_CHECKING:
    from nslab.ruletext.items import Items

WEB = ("virtual", "tcp", "10.96.0.1:80")
A, B = ("real", "tcp", "10.96.0.1:80", "20.96.0.2:80"), ("real", "tcp", "10.96.0.1:80", "20.96.0.3:80")
UDP = ("real", "udp", "10.96.0.10:53", "20.96.0.2:53")
BUSY = """IP Virtual Server version 1.2.1 (size=4096)
Prot LocalAddress:Port Scheduler Flags
  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn
TCP  10.96.0.1:80 rr
  -> 20.96.0.2:80                 Masq    0      1          0
  -> 20.96.0.3:80                 Masq    0      0          0
"""


def test_one_of_tcp_stays_and_goes_when_nobody_talks_to_it() -> None:
    terminating = GracefulTermination()
    old: Items = {A: ("1",), B: ("1",), UDP: ("1",)}
    assert terminating.amend(old, {}) == (old, {A: ("0",), B: ("0",)})
    assert terminating.take(BUSY) == {B: ("0",)}
    assert terminating.items == {A: ("0",)}
    assert terminating.take(BUSY.replace("1          0", "0          0")) == {A: ("0",)}
    assert terminating.items == {}


def test_one_that_comes_back_is_there_already() -> None:
    terminating = GracefulTermination()
    terminating.amend({A: ("1",)}, {})
    assert terminating.amend({}, {A: ("1",)}) == ({A: ("0",)}, {A: ("1",)})
    assert terminating.items == {}


def test_with_the_virtual_server_all_its_real_ones_go() -> None:
    terminating = GracefulTermination()
    terminating.amend({A: ("1",)}, {})
    old: Items = {WEB: ("rr", "", ""), B: ("1",)}
    assert terminating.amend(old, {}) == (old, {})
    assert terminating.items == {}
