"""What `nslab exec` needs: exactly the namespaces, the status, the streams."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from nodebench import Bench, until

from nslab.linux.processes.exec import NotRunning, communicate
from nslab.objects.plan import Add

pytestmark = pytest.mark.root


@pytest.fixture
def pod(bench: Bench) -> Bench:
    bench.node()
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sleep", "1000"))
    return bench


def at_first(pod: Bench, role: str, *argv: str) -> tuple[int, str]:
    """What a command says that comes in as soon as there is a container."""
    while True:
        with contextlib.suppress(NotRunning):
            return pod.exec("pod", role, *argv)


def test_a_container_that_is_about_to_start_is_waited_for(pod: Bench) -> None:
    """Before it has a file system of its own, a command would be elsewhere."""
    with ThreadPoolExecutor(1) as other:
        for number in range(8):
            role = f"container/new{number}"
            first = other.submit(at_first, pod, role, "sh", "-c", "echo mine > /tmp/x; readlink /proc/1/exe")
            pod.agents.run([Add(pod.workload("pod", f"new{number}", "sleep", "1000"))])
            assert first.result() == (0, "/usr/bin/sleep\n")
            assert pod.exec("pod", role, "cat", "/tmp/x") == (0, "mine\n")


def test_gives_back_the_status(pod: Bench) -> None:
    assert pod.exec("pod", "container/app", "sh", "-c", "exit 42") == (42, "")
    assert pod.exec("pod", "container/app", "sh", "-c", "kill -TERM $$") == (143, "")
    status, printed = pod.exec("pod", "container/app", "no-such-command")
    assert (status, printed) == (127, "nslab: no-such-command: No such file or directory\n")
    assert pod.exec("pod", "container/app", "/etc/passwd")[0] == 126


def test_is_in_all_namespaces_of_the_container(pod: Bench) -> None:
    record = pod.record("pod", "container/app")
    for kind in ("net", "uts", "ipc", "pid", "mnt"):
        printed = pod.exec("pod", "container/app", "readlink", f"/proc/self/ns/{kind}")
        assert printed == (0, os.readlink(f"/proc/{record.pid}/ns/{kind}") + "\n")
        assert os.readlink(f"/proc/self/ns/{kind}") not in printed[1]


def test_nothing_that_the_caller_has_open_gets_in(pod: Bench) -> None:
    folder = os.open("/", os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        status, printed = pod.exec("pod", "container/app", "ls", f"/proc/self/fd/{folder}/etc")
    finally:
        os.close(folder)
    assert (status, "No such file" in printed) == (2, True)


def test_a_node_keeps_its_rights(pod: Bench) -> None:
    assert pod.exec("node1", "node", "ip", "link", "add", "dummy7", "type", "bridge")[0] == 0
    assert "dummy7" in pod.exec("node1", "node", "ls", "/sys/class/net")[1]


def test_children_of_the_caller_are_not_in_the_pod(pod: Bench) -> None:
    pod.exec("pod", "container/app", "true")
    child = os.fork()
    if child == 0:
        os._exit(0 if os.readlink("/proc/self/ns/pid") == os.readlink(f"/proc/{os.getppid()}/ns/pid") else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_what_does_not_run_cannot_be_entered(pod: Bench) -> None:
    pod.start(pod.workload("pod", "done", "true", restart="Never"))
    for role, words in (("container/done", "container done of pod"), ("container/none", "container none of pod")):
        with pytest.raises(NotRunning, match=f"{words} does not run"):
            until(lambda role=role: pod.exec("pod", role, "true") == "never")  # type: ignore[misc]


def test_a_command_is_its_nodes_child_and_leads_a_session_of_its_own(pod: Bench) -> None:
    status, printed = pod.exec("pod", "container/app", "cat", "/proc/self/stat")
    number, parent, group, session = (printed.split()[place] for place in (0, 3, 4, 5))
    assert (status, parent, group, session) == (0, "0", number, number)


def test_a_command_beside_an_adopted_container(pod: Bench) -> None:
    """The node's next process did not start it: it goes there by a descriptor that it opened when it found it."""
    pod.start(pod.workload("pod", "once", "sleep", "1000", restart="Never"))
    os.kill(pod.record("node1", "node").pid, signal.SIGKILL)
    until(lambda: not [record for record in pod.records() if record.role == "node"])
    assert pod.exec("pod", "container/app", "hostname") == (0, "pod\n")  # with nobody's help
    pod.node()
    assert pod.exec("pod", "container/app", "hostname") == (0, "pod\n")
    status, printed = pod.exec("pod", "container/app", "sh", "-c", "echo $COLOUR $HOME")
    assert (status, printed) == (0, "green /root\n")
    assert pod.exec("pod", "container/once", "hostname") == (0, "pod\n")
    os.kill(pod.record("pod", "container/once").pid, signal.SIGKILL)
    with pytest.raises(NotRunning):
        until(lambda: pod.exec("pod", "container/once", "true") == "never")


def test_an_environment_and_a_folder_as_the_container_has_them(pod: Bench) -> None:
    pod.start(replace(pod.workload("pod", "there", "sleep", "1000"), working_dir="/usr"))
    assert pod.exec("pod", "container/there", "pwd") == (0, "/usr\n")
    _, printed = pod.exec("pod", "container/there", "env")
    passed_on = ("TERM", "LANG", "LC_ALL", "COLORTERM", "NO_COLOR")
    assert [line for line in sorted(printed.splitlines()) if not line.startswith(passed_on)] == [
        "COLOUR=green",
        "HOME=/root",
        "HOSTNAME=pod",
        f"NSLAB={pod.ns('pod')} exec",
        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    ]


def test_too_long_is_killed_with_all_of_its_session(pod: Bench) -> None:
    line = "set -m; trap '' HUP; echo begun; sleep 1027 & sleep 1027"
    with pytest.raises(subprocess.TimeoutExpired) as late:
        communicate(pod.run, pod.command("pod", "container/app", "bash", "-c", line), "", 0.5)
    assert late.value.output == "begun\n"
    until(lambda: pod.exec("pod", "container/app", "pgrep", "-f", "sleep 1027")[0] == 1)


def test_much_in_and_out_at_once(pod: Bench) -> None:
    text = "".join(f"line {number}\n" for number in range(1_000_000))
    done = communicate(pod.run, pod.command("pod", "container/app", "tee", "/dev/stderr"), text, 60)
    assert (done.returncode, done.stdout == text, done.stderr == text) == (0, True, True)


def test_no_descriptor_is_left_here(pod: Bench) -> None:
    pod.exec("pod", "container/app", "true")
    before = os.listdir("/proc/self/fd")
    for argv in (["true"], ["no-such-command"], ["sh", "-c", "kill -9 $$"]):
        pod.exec("pod", "container/app", *argv)
    with pytest.raises(NotRunning):
        pod.exec("pod", "container/none", "true")
    with pytest.raises(subprocess.TimeoutExpired):
        communicate(pod.run, pod.command("pod", "container/app", "sleep", "1000"), "", 0.1)
    assert os.listdir("/proc/self/fd") == before
