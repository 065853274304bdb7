"""Machines whose /etc is not Debian's: the pod's files are there all the same, and nothing is made outside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

SCRIPT = """
import sys
sys.path[:0] = {path!r}
sys.stdout.reconfigure(line_buffering=True)
from nodebench import Bench
bench = Bench()
try:
    bench.node()
    bench.start(bench.sandbox("pod"), bench.workload("pod", "app", "sleep", "1000"))
    for name in ("resolv.conf", "hosts", "hostname"):
        status, said = bench.exec("pod", "container/app", "cat", "/etc/" + name)
        print(status, said.splitlines()[0])
    print(*bench.exec("pod", "container/app", "head", "-c4", "/etc/passwd"))
    print(bench.exec("pod", "container/app", "sh", "-c", "echo x > /etc/hosts")[0] != 0)
finally:
    bench.close()
"""
RIGHT = "0 nameserver 10.96.0.10\n0 # Kubernetes-managed hosts file.\n0 pod\n0 root\nTrue\n"


@pytest.mark.parametrize(
    "change",
    [
        "true",
        # As systemd-resolved has it, with the file there and with it gone.
        "ln -sf ../run/systemd/resolve/stub-resolv.conf resolv.conf",
        "mkdir -p /run/systemd/resolve; echo x > /run/systemd/resolve/r; ln -sf /run/systemd/resolve/r resolv.conf",
        # As WSL has it.
        "ln -sf /mnt/wsl/resolv.conf resolv.conf",
        "rm -f hostname",
        "rm -f resolv.conf hosts hostname",
    ],
)
def test_the_pods_files_are_there(tmp_path: Path, change: str) -> None:
    script = SCRIPT.format(path=[str(Path(__file__).parent), str(Path(__file__).parents[3])])
    (tmp_path / "script").write_text(script)
    setting = (
        f"mount -t tmpfs none /run && cp -a /etc {tmp_path}/etc && cd {tmp_path}/etc && {change} && "
        f"mount --bind {tmp_path}/etc /etc && ls -lA > {tmp_path}/before && {sys.executable} {tmp_path}/script && "
        f"ls -lA > {tmp_path}/after"
    )
    done = subprocess.run(["unshare", "--mount", "sh", "-c", setting], capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout == RIGHT
    assert (tmp_path / "before").read_text() == (tmp_path / "after").read_text()
