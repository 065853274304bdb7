"""`up` is told which container did not become ready, why, and what it printed."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import pytest
from nodebench import Bench, alive, until

from nslab.errors import Refused
from nslab.linux.observe.host import driver
from nslab.objects.plan import Add, Remove

pytestmark = pytest.mark.root


def could_have(module: str) -> bool:
    modprobe = shutil.which("modprobe")
    return driver(module) or bool(modprobe and not subprocess.run([modprobe, "-qn", module], check=False).returncode)


@pytest.fixture
def pod(bench: Bench) -> Bench:
    bench.node()
    bench.start(bench.sandbox("pod"))
    return bench


def failures(pod: Bench, *argv: str, port: int = 0, seconds: float = 5.0) -> list[tuple[str, str]]:
    pod.agents.run([Add(pod.workload("pod", "app", *argv, port=port))])
    return [(entry.reason, entry.output) for entry in pod.agents.wait_ready(seconds)]


def test_a_command_is_ready_when_it_runs(pod: Bench) -> None:
    assert failures(pod, "sleep", "1000") == []


def test_a_command_that_is_not_there(pod: Bench) -> None:
    assert failures(pod, "no-such-command") == [("exec no-such-command: No such file or directory", "")]


def test_a_command_that_cannot_be_run(pod: Bench) -> None:
    assert failures(pod, "/etc/passwd") == [("exec /etc/passwd: Permission denied", "")]


def test_a_command_that_ends_before_its_port_answers(pod: Bench) -> None:
    (failure,) = failures(pod, "sh", "-c", "echo no configuration >&2; exit 3", port=8080)
    assert failure == ("exited with 3", "no configuration\n")


def test_a_command_that_is_killed(pod: Bench) -> None:
    # Its own SIGKILL means nothing to the first process of a pid namespace, a child's does.
    assert failures(pod, "sh", "-c", "sh -c 'kill -9 $$'; exit $?", port=8080) == [("exited with 137", "Killed\n")]


def test_a_port_that_nobody_answers(pod: Bench) -> None:
    assert failures(pod, "sleep", "1000", port=8080, seconds=0.2) == [("port 8080 did not answer in 0.2 s", "")]


def test_a_port_that_answers_in_the_end(pod: Bench) -> None:
    server = "import socket, time; time.sleep(.1); s = socket.create_server(('', 8080)); s.accept(); time.sleep(99)"
    assert failures(pod, "python3", "-c", server, port=8080) == []


def test_the_same_port_twice(pod: Bench) -> None:
    pod.start(pod.workload("pod", "first", "agnhost", "netexec", "--udp-port=-1"))
    (failure,) = failures(pod, "agnhost", "netexec", "--udp-port=-1")
    assert failure[0] == "--http-port=8080: Address already in use"
    assert failure[1].endswith("--http-port=8080: Address already in use\n")


def test_a_flag_that_agnhost_does_not_have(pod: Bench) -> None:
    assert failures(pod, "agnhost", "netexec", "--prot=1")[0][0] == "unknown flag: --prot"


@pytest.mark.skipif(could_have("sctp"), reason="this kernel has SCTP, or would load it")
def test_a_protocol_that_this_kernel_does_not_have(pod: Bench) -> None:
    words = failures(pod, "agnhost", "netexec", "--sctp-port=8082")[0][0]
    assert words == "--sctp-port=8082: Protocol not supported"


def test_several_at_once(pod: Bench) -> None:
    pod.agents.run([
        Add(pod.workload("pod", "bad", "false", port=1)),
        Add(pod.workload("pod", "good", "agnhost", "netexec")),
    ])  # fmt: skip
    assert [(entry.container, entry.reason) for entry in pod.agents.wait_ready(5)] == [("bad", "exited with 1")]


def test_removed_and_added_again(pod: Bench) -> None:
    workload = pod.workload("pod", "app", "agnhost", "netexec")
    (first,) = pod.start(workload)
    pod.agents.run([Remove(workload)])
    assert not alive(first)
    (second,) = pod.start(workload)
    assert second != first


def test_a_pod_goes_with_its_containers_files_and_logs(pod: Bench) -> None:
    (app,) = pod.start(pod.workload("pod", "app", "sleep", "1000"))
    pod.agents.run([Remove(pod.sandbox("pod"))])
    assert not alive(app)
    assert list((pod.run / "pods").iterdir()) == []
    assert list((pod.run / "nodes/node1/log/pods").iterdir()) == []
    assert list((pod.run / "nodes/node1/log/containers").iterdir()) == []


def test_a_container_without_its_pod_is_refused(bench: Bench) -> None:
    bench.node()
    bench.add_ns("pod")
    with pytest.raises(Refused, match="no pause process"):
        bench.agents.run([Add(bench.workload("pod", "app", "sleep", "1"))])


def test_a_namespace_that_is_not_there_is_refused(bench: Bench) -> None:
    bench.node()
    sandbox = bench.sandbox("pod")
    with pytest.raises(Refused, match="No such file"):
        bench.agents.run([Add(replace(sandbox, ns=bench.ns("other")))])


def test_containers_on_a_client(bench: Bench) -> None:
    bench.node("client")
    bench.start(bench.workload("client", "web", "agnhost", "netexec", node="client"))
    assert bench.exec("client", "container/web", "hostname") == (0, "client\n")
    assert bench.exec("client", "container/web", "curl", "-s", "127.0.0.1:8080/hostname") == (0, "client")
    until(lambda: bench.exec("client", "node", "curl", "-s", "127.0.0.1:8080/hostname") == (0, "client"))
