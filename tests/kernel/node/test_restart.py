"""What ends is started again as the kubelet does; what became of it is written down, and outlives nslab-node."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from nodebench import Bench, alive, until

from nslab.objects.container import Limits
from nslab.objects.plan import Add, Remove
from nslab.runtime import cgroups

if TYPE_CHECKING:
    from nslab.objects.container import Workload

pytestmark = pytest.mark.root

SOON, NEVER = 0.01, 200.0
"""Seconds of back-off: so short that it is over at once, so long that it does not end in a test."""
CRASH = "echo once; exit 3"
BY_HAND = "mkfifo /tmp/in; exec 3<>/tmp/in; echo ready; read word <&3; exit $word"
"""Runs until it is told with which status to end."""


@pytest.fixture
def pod(bench: Bench) -> Bench:
    bench.node()
    bench.start(bench.sandbox("pod"))
    return bench


def crashing(pod: Bench, script: str = CRASH, **kubelet: Any) -> Workload:
    workload = pod.workload("pod", "app", "sh", "-c", script, **kubelet)
    pod.agents.run([Add(workload)])
    return workload


def app(pod: Bench) -> dict[str, Any]:
    """What is written down of the container."""
    found: dict[str, Any] = pod.status("pod").get("containers", {}).get("app", {})
    return {"restarts": 0, "state": "", "reason": "", "ready": False, **found}


def tell(pod: Bench, word: str) -> None:
    """Say something to a container that waits for it."""
    until(lambda: "ready" in pod.log("pod", "app", attempt=app(pod)["restarts"]))
    pod.exec("pod", "container/app", "sh", "-c", f"echo {word} > /tmp/in")


def test_first_at_once_then_not_so_soon(pod: Bench) -> None:
    crashing(pod, backoff=NEVER)
    (failure,) = pod.agents.wait_ready(5)
    assert (failure.reason, failure.output) == ("exited with 3", "once\n")
    until(lambda: app(pod)["state"] == "waiting")
    seen = app(pod)
    assert (seen["reason"], seen["restarts"], seen["exit_code"], seen["ready"]) == ("CrashLoopBackOff", 1, 3, False)
    assert (pod.status("pod")["ready"], pod.status("pod")["phase"]) == (False, "Running")
    assert [pod.log("pod", "app", attempt=number).count("once") for number in (0, 1, 2)] == [1, 1, 0]


def test_again_and_again_each_with_a_log_of_its_own(pod: Bench) -> None:
    crashing(pod, backoff=SOON)
    until(lambda: app(pod)["restarts"] >= 4, 10)
    count = app(pod)["restarts"]
    until(lambda: not (pod.logs("pod", "app") / f"{count - 2}.log").exists())
    assert not (pod.logs("pod", "app") / "0.log").exists()
    (link,) = (pod.run / "nodes/node1/log/containers").iterdir()
    assert int(os.readlink(link).removesuffix(".log").rpartition("/")[2]) >= count


def test_what_runs_on_after_a_restart_is_ready(pod: Bench) -> None:
    (first,) = pod.start(pod.workload("pod", "app", "agnhost", "netexec"))
    os.kill(first, signal.SIGKILL)
    until(lambda: app(pod)["restarts"] == 1 and pod.status("pod")["ready"])
    assert app(pod)["exit_code"] == 137
    assert pod.record("pod", "container/app").pid != first
    assert pod.exec("pod", "container/app", "curl", "-s", "127.0.0.1:8080/hostname") == (0, "pod")


@pytest.mark.parametrize("restart", ["Never", "OnFailure"])
def test_completed_is_no_failure(pod: Bench, restart: str) -> None:
    crashing(pod, "exit 0", restart=restart)
    assert pod.agents.wait_ready(5) == []
    until(lambda: pod.status("pod")["phase"] == "Succeeded")
    seen = app(pod)
    assert (seen["state"], seen["reason"], seen["exit_code"], seen["restarts"]) == ("terminated", "Completed", 0, 0)
    assert pod.status("pod")["ready"] is False


def test_an_error_that_stays(pod: Bench) -> None:
    crashing(pod, restart="Never")
    assert [entry.reason for entry in pod.agents.wait_ready(5)] == ["exited with 3"]
    until(lambda: pod.status("pod")["phase"] == "Failed")
    assert (app(pod)["state"], app(pod)["reason"], app(pod)["restarts"]) == ("terminated", "Error", 0)


def test_on_failure_until_it_succeeds(pod: Bench) -> None:
    crashing(pod, BY_HAND, restart="OnFailure", backoff=NEVER)
    tell(pod, "1")
    until(lambda: app(pod)["restarts"] == 1 and app(pod)["state"] == "running")
    tell(pod, "0")
    until(lambda: app(pod)["reason"] == "Completed")
    assert (app(pod)["restarts"], pod.status("pod")["phase"]) == (1, "Succeeded")


@pytest.mark.parametrize("status", [0, 1])
def test_what_ends_at_once_is_not_taken_for_started(pod: Bench, status: int) -> None:
    """Ten times, as it was a race: exec had succeeded, and the end was not yet known."""
    for _ in range(10):
        workload = crashing(pod, f"exit {status}", backoff=NEVER)
        assert [entry.reason for entry in pod.agents.wait_ready(5)] == [f"exited with {status}"]
        pod.agents.run([Remove(workload)])


def test_what_is_busy_all_the_time_has_started_too(pod: Bench) -> None:
    pod.start(pod.workload("pod", "app", "sh", "-c", "while :; do :; done"))
    until(lambda: pod.status("pod")["ready"])


def test_a_command_that_is_not_there_is_tried_again(pod: Bench) -> None:
    pod.agents.run([Add(pod.workload("pod", "app", "no-such-command", backoff=NEVER))])
    assert [entry.reason for entry in pod.agents.wait_ready(5)] == [
        "exec no-such-command: No such file or directory",
    ]
    until(lambda: app(pod)["reason"] == "CrashLoopBackOff")
    assert (app(pod)["restarts"], app(pod)["exit_code"]) == (1, 127)


EATS = "eaten = []\nwhile True: eaten.append(b'x' * (1 << 20))"
metered = pytest.mark.skipif(
    not {"unified", "memory"} & {*cgroups.hierarchies()}, reason="no control groups for memory"
)


@metered
@pytest.mark.parametrize(
    "argv", [["python3", "-c", EATS], ["sh", "-c", f'python3 -c "{EATS}"; exit $?']], ids=["it", "its child"]
)
def test_of_one_without_memory_it_is_said(pod: Bench, argv: list[str]) -> None:
    few = Limits(memory=32 << 20)
    pod.agents.run([Add(pod.workload("pod", "app", *argv, backoff=NEVER, limits=few))])
    until(lambda: app(pod)["reason"] == "CrashLoopBackOff")
    last = app(pod)["last"]
    assert (last["reason"], last["exit_code"]) == ("OOMKilled", 137)
    assert last["started"] <= last["finished"]


@metered
def test_of_the_run_after_it_is_not(pod: Bench) -> None:
    """The group, and what the kernel counts in it, is that of all runs."""
    script = BY_HAND.replace("exit $word", f'test $word = eat && exec python3 -c "{EATS}"; exit $word')
    pod.start(pod.workload("pod", "app", "sh", "-c", script, backoff=NEVER, limits=Limits(memory=32 << 20)))
    tell(pod, "eat")
    until(lambda: app(pod)["restarts"] == 1 and app(pod)["state"] == "running")
    assert app(pod)["last"]["reason"] == "OOMKilled"
    tell(pod, "3")
    until(lambda: app(pod)["reason"] == "CrashLoopBackOff")
    assert (app(pod)["last"]["reason"], app(pod)["last"]["exit_code"]) == ("Error", 3)


def test_how_a_command_that_is_not_there_ended(pod: Bench) -> None:
    pod.agents.run([Add(pod.workload("pod", "app", "no-such-command", backoff=NEVER))])
    until(lambda: app(pod)["reason"] == "CrashLoopBackOff")
    last = app(pod)["last"]
    assert (last["reason"], last["exit_code"]) == ("StartError", 127)
    assert last["message"] == "exec no-such-command: No such file or directory"


def test_a_removed_one_is_not_started_again(pod: Bench) -> None:
    workload = crashing(pod, backoff=0.2)
    until(lambda: app(pod)["reason"] == "CrashLoopBackOff")
    pod.agents.run([Remove(workload)])
    pod.start(pod.workload("pod", "other", "sleep", "0.5", restart="Never"))
    until(lambda: pod.status("pod")["phase"] == "Succeeded")
    assert [record.role for record in pod.records() if record.ns == pod.ns("pod")] == ["pause"]
    assert list(pod.status("pod")["containers"]) == ["other"]


def test_counts_go_on_after_the_nodes_process_was_killed(bench: Bench) -> None:
    node = bench.node()
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sh", "-c", BY_HAND, backoff=NEVER))
    tell(bench, "3")
    until(lambda: app(bench)["restarts"] == 1 and app(bench)["state"] == "running")
    running = bench.record("pod", "container/app").pid
    kill(node)
    node = bench.node()
    assert bench.record("pod", "container/app").pid == running
    assert (app(bench)["restarts"], app(bench)["state"]) == (1, "running")
    # The new process knows the command, and that it is the second end.
    tell(bench, "4")
    until(lambda: app(bench)["reason"] == "CrashLoopBackOff")
    assert (app(bench)["restarts"], app(bench)["delay"]) == (1, NEVER)
    kill(node)
    bench.node()
    assert (app(bench)["restarts"], app(bench)["reason"]) == (1, "CrashLoopBackOff")
    assert [record.role for record in bench.records() if record.ns == bench.ns("pod")] == ["pause"]


def test_what_ended_while_nobody_looked_is_started_again(bench: Bench) -> None:
    node = bench.node()
    workload = bench.workload("pod", "app", "agnhost", "netexec")
    done = bench.workload("pod", "done", "true", restart="Never")
    first = bench.start(bench.sandbox("pod"), workload, done)[1]
    until(lambda: bench.status("pod")["containers"].get("done", {}).get("reason") == "Completed")
    kill(node)
    os.kill(first, signal.SIGKILL)
    until(lambda: not alive(first))
    bench.node()
    until(lambda: app(bench)["restarts"] == 1 and app(bench)["ready"])
    assert bench.status("pod")["containers"]["done"]["reason"] == "Completed"
    second = bench.record("pod", "container/app").pid
    # `up`, which saw that it did not run, asks for it all the same.
    assert bench.agents.run([Add(workload)]) == [second]
    bench.agents.run([Remove(workload)])
    assert not alive(second)


def test_what_was_removed_while_nobody_looked_is_not_started_again(bench: Bench) -> None:
    node = bench.node()
    workload = bench.workload("pod", "app", "sleep", "1000")
    bench.start(bench.sandbox("pod"), workload, bench.workload("pod", "stays", "sleep", "1000"))
    kill(node)
    bench.agents.__exit__()
    bench.agents.run([Remove(workload)])
    bench.node()
    until(lambda: list(bench.status("pod")["containers"]) == ["stays"])
    assert sorted(record.role for record in bench.records() if record.role.startswith("c")) == ["container/stays"]


def test_a_pod_whose_pause_is_killed_is_not_ready(pod: Bench) -> None:
    pod.start(pod.workload("pod", "app", "agnhost", "netexec"))
    until(lambda: pod.status("pod")["ready"])
    os.kill(pod.record("pod", "pause").pid, signal.SIGKILL)
    until(lambda: not pod.status("pod")["ready"])
    assert [record for record in pod.records() if record.ns == pod.ns("pod")] == []
    pod.start(pod.sandbox("pod"), pod.workload("pod", "app", "agnhost", "netexec"))
    until(lambda: pod.status("pod")["ready"])
    pod.agents.run([Remove(pod.sandbox("pod"))])
    until(lambda: pod.status("pod") == {})


def test_the_journal_stays_small_and_holds_what_is_to_run(bench: Bench) -> None:
    node = bench.node()
    bench.start(bench.sandbox("pod"), bench.workload("pod", "stays", "sleep", "1000"))
    for number in range(60):
        other = bench.workload("pod", f"c{number}", "sleep", "1000")
        bench.agents.run([Add(other), Remove(other)])
    journal = bench.run / "nodes/node1.journal"
    assert len(journal.read_text().splitlines()) < 80
    assert journal.stat().st_mode & 0o777 == 0o600
    kill(node)
    journal.write_text(journal.read_text() + '{"op": "add", "ns"')  # cut short
    bench.node()
    assert list(bench.status("pod")["containers"]) == ["stays"]
    assert [json.loads(line)["container"] for line in journal.read_text().splitlines()] == ["stays"]


def kill(node: int) -> None:
    """SIGKILL to a node's process."""
    os.kill(node, signal.SIGKILL)
    until(lambda: not alive(node))


@pytest.mark.parametrize("jump", [-365 * 86400.0, 365 * 86400.0], ids=["back", "forward"])
def test_a_wait_is_no_longer_because_the_clock_was_set(bench: Bench, jump: float) -> None:
    node = bench.node()
    bench.agents.run(
        [Add(bench.sandbox("pod")), Add(bench.workload("pod", "app", "false", restart="Always", backoff=2.0))]
    )
    until(lambda: app(bench)["reason"] == "CrashLoopBackOff")
    kill(node)
    # As if the clock had been set since: what was written down is later, or earlier, than it says now.
    path = bench.run / "nodes/node1.status.json"
    kept = json.loads(path.read_text())
    for time in ("started", "finished"):
        kept["pods"]["default/pod"]["containers"]["app"][time] -= jump
    path.write_text(json.dumps(kept))
    bench.node()
    until(lambda: app(bench)["restarts"] == 2, 5)
