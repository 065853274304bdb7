"""The control process: what was put outlives it, and all others find it again."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest
from nodebench import Bench, alive, until

from nslab.errors import Refused
from nslab.linux.processes.control import ControlClient
from nslab.objects import process as objects
from nslab.objects.plan import Add, Remove, Replace
from nslab.proxy.model import Endpoint, Port, ServiceInfo, service_from_json

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

WEB = ServiceInfo("default", "web", "10.96.0.1", (Port("", 80, endpoints=(Endpoint("20.96.0.2", 8080, "node1"),)),))
DNS = ServiceInfo("kube-system", "kube-dns", "10.96.0.10", (Port("dns", 53, "UDP"),))


def control_object(bench: Bench) -> objects.Control:
    return objects.Control(bench.ns("control"), bench.ns("control"))


@pytest.fixture
def pid(bench: Bench) -> int:
    """The number of a running control process."""
    bench.add_ns("control")
    return bench.agents.run([Add(control_object(bench))])[0]


@pytest.fixture
def control(bench: Bench, pid: int) -> Iterator[ControlClient]:
    with ControlClient(bench.lab) as line:
        yield line


def shown(control: ControlClient) -> list[ServiceInfo]:
    return [service_from_json(output) for output in control.get()["services"]]


def test_is_found_by_its_mark_in_its_namespace(bench: Bench, pid: int) -> None:
    record = bench.record("control", "control")
    assert (record.pid, record.name) == (pid, "nslab-control")
    there = os.stat(bench.run / "ns" / bench.ns("control")).st_ino
    assert os.stat(f"/proc/{pid}/ns/net").st_ino == there


def test_keeps_what_is_put(control: ControlClient) -> None:
    assert control.put([WEB, DNS]) == ()
    assert shown(control) == [WEB, DNS]
    assert control.put([], ["default/web"], whole=False) == ()
    assert shown(control) == [DNS]


def test_what_was_put_outlives_it(bench: Bench, pid: int, control: ControlClient) -> None:
    control.put([WEB, DNS])
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
    with pytest.raises(Refused, match=f"`nslab up {bench.lab}` brings it back"), ControlClient(bench.lab) as line:
        line.put([WEB])
    bench.agents.run([Add(control_object(bench))])
    with ControlClient(bench.lab) as line:
        assert shown(line) == [WEB, DNS]


def test_who_holds_while_it_is_killed_is_told(pid: int, control: ControlClient) -> None:
    control.hold()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid))
    with pytest.raises(Refused, match=r"control process ended|Broken pipe|reset"):
        control.release()


def test_with_nobody_there_a_hold_holds_nothing(bench: Bench) -> None:
    with ControlClient(bench.lab) as line:
        assert line.hold() == {}
        line.release()


def test_can_be_stopped_and_replaced(bench: Bench, pid: int) -> None:
    (another,) = bench.agents.run([Replace(control_object(bench), control_object(bench))])
    until(lambda: not alive(pid))
    assert alive(another)
    bench.agents.run([Remove(control_object(bench))])
    until(lambda: not alive(another))
    assert not (bench.run / "control.sock").exists()
