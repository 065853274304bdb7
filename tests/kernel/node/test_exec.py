"""What `nslab exec` needs: exactly the namespaces, the status, the streams."""

from __future__ import annotations

import os
import pty
import select
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from nodebench import Bench, until

from nslab.linux.procs import enter

pytestmark = pytest.mark.root


@pytest.fixture
def pod(bench: Bench) -> Bench:
    bench.node()
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sleep", "1000"))
    return bench


def test_gives_back_the_status(pod: Bench) -> None:
    assert pod.exec("pod", "container/app", "sh", "-c", "exit 42") == (42, "")
    assert pod.exec("pod", "container/app", "sh", "-c", "kill -TERM $$") == (143, "")
    status, said = pod.exec("pod", "container/app", "no-such-command")
    assert (status, said) == (127, "nslab: no-such-command: No such file or directory\n")
    assert pod.exec("pod", "container/app", "/etc/passwd")[0] == 126


def test_is_in_all_namespaces_of_the_container(pod: Bench) -> None:
    record = pod.record("pod", "container/app")
    for kind in ("net", "uts", "ipc", "pid", "mnt"):
        said = pod.exec("pod", "container/app", "readlink", f"/proc/self/ns/{kind}")
        assert said == (0, os.readlink(f"/proc/{record.pid}/ns/{kind}") + "\n")
        assert os.readlink(f"/proc/self/ns/{kind}") not in said[1]


def test_nothing_that_the_caller_has_open_gets_in(pod: Bench) -> None:
    folder = os.open("/", os.O_RDONLY)
    os.set_inheritable(folder, True)
    try:
        status, said = pod.exec("pod", "container/app", "ls", f"/proc/self/fd/{folder}/etc")
    finally:
        os.close(folder)
    assert (status, "No such file" in said) == (2, True)


def test_a_node_keeps_its_rights(pod: Bench) -> None:
    assert pod.exec("node1", "node", "ip", "link", "add", "dummy7", "type", "bridge")[0] == 0
    assert "dummy7" in pod.exec("node1", "node", "ls", "/sys/class/net")[1]


def test_children_of_the_caller_are_not_in_the_pod(pod: Bench) -> None:
    pod.exec("pod", "container/app", "true")
    child = os.fork()
    if child == 0:
        os._exit(0 if os.readlink("/proc/self/ns/pid") == os.readlink(f"/proc/{os.getppid()}/ns/pid") else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_shell_has_job_control_on_the_callers_terminal(pod: Bench) -> None:
    record = pod.record("pod", "container/app")
    child, terminal = pty.fork()
    if child == 0:
        status = enter(record, ["bash", "--norc", "-i"])
        os.write(1, b"<back %d %d>" % (status, os.tcgetpgrp(0) == os.getpgrp()))
        os._exit(0)
    said = b""

    def wait_for(text: bytes) -> None:
        nonlocal said

        def there() -> bool:
            nonlocal said
            if select.select([terminal], [], [], 0.1)[0]:
                said += os.read(terminal, 4096)
            return text in said

        try:
            until(there)
        except AssertionError:
            raise AssertionError(f"no {text!r} in {said!r}") from None

    def sleeps() -> bool:
        """Whether `sleep` is what the terminal's keys go to; the group before it may just have ended."""
        with suppress(FileNotFoundError, ProcessLookupError):
            return Path(f"/proc/{os.tcgetpgrp(terminal)}/comm").read_text() == "sleep\n"
        return False

    try:
        wait_for(b"# ")
        os.write(terminal, b"hostname; sleep 500\n")
        wait_for(b"pod\r\n")
        until(sleeps)
        os.write(terminal, b"\x03")  # Ctrl-C ends what runs in the foreground, not the shell
        os.write(terminal, b"echo $((6*7)) $?\n")
        wait_for(b"42 130")
        os.write(terminal, b"exit 7\n")
        wait_for(b"<back 7 1>")
        assert b"no job control" not in said
    finally:
        os.close(terminal)  # hangs up whoever is still there
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
