"""The kubelet's rules, without a process: when it starts again, what an answer means, what is written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nslab.api.pod_types import Container, ContainerPort
from nslab.compiler.pods import check
from nslab.components.kubelet import crilog, exit_status, restart, status
from nslab.components.kubelet.exit_status import UNKNOWN
from nslab.components.kubelet.health import LONGEST_HEADER, Health, complaint, request, whole
from nslab.components.runtime.loop import Loop
from nslab.runtime.health_check import HealthCheck
from nslab.runtime.journal import MOST, Journal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("policy", "code", "is_again"),
    [
        ("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False), ("OnFailure", 1, True),
        ("Never", 0, False), ("Never", 1, False),
    ],
)  # fmt: skip
def test_who_is_started_again(policy: str, code: int, is_again: bool) -> None:
    assert restart.again(policy, code) is is_again


def test_the_waits_are_the_kubelets() -> None:
    waits = [0.0]
    while waits[-1] < restart.LONGEST:
        waits.append(restart.longer(waits[-1], 10.0))
    assert waits == [0, 10, 20, 40, 80, 160, 300]
    assert restart.longer(300.0, 10.0) == 300


@pytest.mark.parametrize(("status", "code"), [(0, 0), (3, 3), (-9, 137), (-15, 143), (UNKNOWN, 137)])
def test_exit_codes(status: int, code: int) -> None:
    assert exit_status.exit_code(status) == code


@pytest.mark.parametrize(
    ("status", "started", "reason"),
    [
        (0, True, "Completed"), (1, True, "Error"), (-9, True, "Error"), (127, False, "StartError"),
        (UNKNOWN, True, "ContainerStatusUnknown"),
    ],
)  # fmt: skip
def test_reasons(status: int, started: bool, reason: str) -> None:
    assert exit_status.reason_of(status, started) == reason


def test_who_had_no_more_memory() -> None:
    assert exit_status.reason_of(-9, True, oom=True) == "OOMKilled"
    assert exit_status.reason_of(137, True, oom=True) == "OOMKilled", "its only process is a shell's child"
    assert exit_status.reason_of(UNKNOWN, True, oom=True) == "OOMKilled"
    assert exit_status.reason_of(0, True, oom=True) == "Completed", "it did without who was killed"


@pytest.mark.parametrize(
    ("answers", "good"),
    [("", False), ("+", False), ("++", True), ("+-+", False), ("++-", True), ("++--", True), ("++---", False),
     ("++--+--", True), ("++---+", False), ("++---++", True)],
)  # fmt: skip
def test_it_takes_several_answers_in_a_row(answers: str, good: bool) -> None:
    verdict, asked = Health(False), HealthCheck("httpGet", 80, successes=2, failures=3)
    for answer in answers:
        verdict.hear(asked, answer == "+")
    assert verdict.good is good


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("HTTP/1.1 200 OK", ""), ("HTTP/1.0 399 X", ""), ("HTTP/1.1 302 Found", ""),
        ("HTTP/1.1 400 Bad Request", "HTTP probe failed with statuscode: 400"),
        ("HTTP/1.1 199 X", "HTTP probe failed with statuscode: 199"),
        ("SSH-2.0-OpenSSH_9.2", "malformed HTTP response"), ("HTTP/1.1", "malformed HTTP response"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_answer(line: str, wrong: str) -> None:
    assert complaint(f"{line}\r\n\r\n".encode()) == wrong


def test_an_answer_is_heard_to_its_end() -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    assert [whole(answer[:length]) for length in range(len(answer) + 1)] == [*[False] * len(answer), True]
    assert whole(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert whole(b"HTTP/1.0 200 OK\n\n")
    assert not whole(b"x" * (LONGEST_HEADER - 1))
    assert whole(b"x" * LONGEST_HEADER)


def test_a_header_without_an_end_is_no_answer() -> None:
    assert complaint(b"HTTP/1.1 200 OK\r\nServer: x\r\n") == "unexpected EOF"
    assert complaint(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * LONGEST_HEADER).endswith("bytes; aborted")
    assert complaint(b"HTTP/1.0 200 OK\n\nok") == ""


def test_what_is_asked() -> None:
    output = request("20.96.0.7", HealthCheck("httpGet", 8080, "/healthz")).decode()
    assert output.startswith("GET /healthz HTTP/1.1\r\nHost: 20.96.0.7:8080\r\nUser-Agent: kube-probe/")
    assert output.endswith("\r\nConnection: close\r\n\r\n")


def test_a_named_port_is_looked_up_in_the_container() -> None:
    container = Container("app", ports=(ContainerPort(80), ContainerPort(8081, name="health")))
    found = check(container, HealthCheck("httpGet", "health", path="/up", period=5, failures=2))
    assert found is not None
    assert found.fields() == {
        "kind": "httpGet", "port": 8081, "path": "/up", "initial_delay": 0, "period": 5, "timeout": 1,
        "successes": 1, "failures": 2,
    }  # fmt: skip
    assert check(container, None) is None
    nobody = check(container, HealthCheck("tcpSocket", "nix"))
    assert nobody is not None
    assert nobody.port == 0


def entry(state: str, reason: str = "", exit_code: int | None = None) -> dict[str, Any]:
    return {"state": state, "reason": reason, "exit_code": exit_code}


@pytest.mark.parametrize(
    ("phase", "containers"),
    [
        ("Pending", []),
        ("Pending", [entry("waiting", "ContainerCreating")]),
        ("Running", [entry("running"), entry("waiting", "ContainerCreating")]),
        ("Running", [entry("waiting", "CrashLoopBackOff", 1)]),
        ("Running", [entry("running"), entry("terminated", "Completed", 0)]),
        ("Succeeded", [entry("terminated", "Completed", 0)] * 2),
        ("Failed", [entry("terminated", "Completed", 0), entry("terminated", "Error", 1)]),
    ],
)
def test_phases(phase: str, containers: list[dict[str, Any]]) -> None:
    assert status.phase(containers) == phase


def test_the_journal_is_written_anew_when_most_of_it_is_out_of_date(tmp_path: Path) -> None:
    path = tmp_path / "node1.journal"
    loop = Loop()
    journal = Journal(str(path), lambda call: loop.at(0, call))
    for number in range(MOST):
        journal.add({"ns": "n", "container": f"c{number}", "argv": ["x"]})
        journal.remove("n", f"c{number}")
        loop.turn()
    journal.add({"ns": "n", "container": "stays", "argv": ["y"]})
    loop.turn()
    assert len(path.read_text().splitlines()) < MOST + 4
    with path.open("a") as file:
        file.write('{"op": "add", "ns')
    later = Journal(str(path), lambda call: loop.at(0, call))
    assert later.recall() == {("n", "stays"): {"ns": "n", "container": "stays", "argv": ["y"]}}
    later.add({"ns": "n", "container": "more", "argv": ["z"]})
    loop.turn()
    assert set(Journal(str(path), lambda call: loop.at(0, call)).recall()) == {("n", "stays"), ("n", "more")}


def test_runs_are_counted_by_their_logs(tmp_path: Path) -> None:
    for name in ("pod/app/2.log", "pod/app/3.log", "pod/app/3.log.1", "pod/new/0.log", "other/x/10.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert crilog.attempts(str(tmp_path)) == {"pod/app": 4, "pod/new": 1, "other/x": 11}
    crilog.log_file(str(tmp_path / "pod/app"), 4).close()
    assert sorted(file.name for file in (tmp_path / "pod/app").iterdir()) == ["3.log", "4.log"]
