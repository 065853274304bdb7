"""The volumes of pods that run: what containers find where, what they may do with it, and how long it is there."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

OBJECTS = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: LAB}
spec: {nodes: [{name: n1}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: conf}
data: {site.conf: "server {}\\n", run.sh: "#!/bin/sh\\necho ran\\n"}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  shareProcessNamespace: true
  volumes:
  - {name: shared, emptyDir: {sizeLimit: 1Mi}}
  - {name: conf, configMap: {name: conf, defaultMode: 0755}}
  - {name: host, hostPath: {path: /etc}}
  containers:
  - name: app
    command: [sh, -c, "until [ -e /data/end ]; do sleep 0.1; done; rm /data/end"]
    volumeMounts:
    - {name: shared, mountPath: /data}
    - {name: shared, mountPath: /dev/shm, subPath: shm}
    - {name: conf, mountPath: /etc/config}
    - {name: conf, mountPath: /usr/share/nginx/site.conf, subPath: site.conf}
    - {name: conf, mountPath: /data/conf}
    - {name: host, mountPath: /host/etc}
    - {name: host, mountPath: /proc/sys}
    - {name: host, mountPath: /}
  - name: other
    command: [sleep, infinity]
    securityContext: {readOnlyRootFilesystem: true, runAsUser: 1000}
    volumeMounts:
    - {name: shared, mountPath: /var/lib/mysql}
    - {name: shared, mountPath: /seen, readOnly: true}
  - name: stand-in
    image: nginx
    volumeMounts: [{name: conf, mountPath: /etc/nginx}]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path)
    made.write(OBJECTS.replace("LAB", made.name))
    try:
        yield made
    finally:
        made.clear()


def run(lab: OwnLab, command: str, container: str = "app") -> str:
    """What a command in a container of the pod prints."""
    done = nslab("exec", f"{lab.name}/web", "-c", container, "--", "sh", "-c", command)
    return (done.stdout + done.stderr).strip()


def restarts(lab: OwnLab) -> int:
    (pod,) = (one for one in json.loads(nslab("ps", lab.name, "-o", "json").stdout) if one["name"] == "web")
    return int(str(pod["restarts"]).split()[0])


def test_containers_find_their_volumes_where_they_mount_them(lab: OwnLab) -> None:
    lab.up()
    assert run(lab, "cat /usr/share/nginx/site.conf; /etc/config/run.sh; ls /data/conf; ls -A /host/etc") == (
        "server {}\nran\nrun.sh\nsite.conf"
    )
    assert run(lab, "cat /etc/nginx/site.conf", "stand-in") == "server {}"
    run(lab, "echo mine >/data/x; echo memory >/dev/shm/y")
    assert run(lab, "cat /var/lib/mysql/x /seen/x /seen/shm/y", "other") == "mine\nmine\nmemory"
    assert run(lab, "touch /var/lib/mysql/z; stat -c %u /seen/z", "other") == "1000"
    assert run(lab, "cat /proc/sys/kernel/hostname") == "web"
    for path in ("/etc/config/x", "/usr/share/nginx/x", "/usr/share/x", "/data/conf/x", "/x", "/host/x"):
        assert run(lab, f"echo >{path}").endswith("Read-only file system"), path
    assert run(lab, "echo >/seen/x; echo >/var/x", "other").count("Read-only file system") == 2
    assert run(lab, "head -c 2000000 /dev/zero >/data/big").endswith("No space left on device")


def test_an_empty_folder_lives_as_long_as_its_pod(lab: OwnLab) -> None:
    lab.up()
    run(lab, "echo kept >/data/x; touch /data/end")
    until(lambda: restarts(lab) == 1)
    assert run(lab, "cat /data/x") == "kept"
    os.kill(int(lab.sh("n1", "pgrep -f 'nslab-node n1'").split()[0]), signal.SIGKILL)
    lab.up()
    run(lab, "touch /data/end")
    until(lambda: restarts(lab) == 2)
    assert run(lab, "cat /data/x; cat /etc/config/site.conf") == "kept\nserver {}"
    lab.edit("sizeLimit: 1Mi", "sizeLimit: 2Mi")
    lab.up()
    assert run(lab, "ls /data; stat -fc %b /data") == "conf\nshm\n512"


def test_nothing_of_its_pods_other_processes_leads_further(lab: OwnLab) -> None:
    lab.up()
    assert "Permission denied" in run(lab, "ls /proc/1/root/")
    mounts = run(lab, "cut -d' ' -f2,4 /proc/mounts").splitlines()
    assert not [line for line in mounts if line.startswith(("/proc/0 ", "/proc/1 ", "/mnt "))]
    writable = {line.split()[0] for line in mounts if "rw" in line.split()[1].split(",")}
    assert writable == {"/tmp", "/run", "/var", "/data", "/host/etc", "/dev/shm", "/dev/pts"}
