"""The volumes of pods that run: what containers find where, what they may do with it, and how long it is there."""

from __future__ import annotations

import json

import pytest

from tests.kernel.labkit import OwnLab, kill, nslab, until

pytestmark = pytest.mark.root

OBJECTS = """\
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


def restarts(one_node: OwnLab) -> int:
    (pod,) = (one for one in json.loads(nslab("ps", one_node.name, "-o", "json").stdout) if one["name"] == "web")
    return int(str(pod["restarts"]).split()[0])


def test_containers_find_their_volumes_where_they_mount_them(one_node: OwnLab) -> None:
    one_node.up()
    assert one_node.in_pod(
        "web", "cat /usr/share/nginx/site.conf; /etc/config/run.sh; ls /data/conf; ls -A /host/etc", "app"
    ) == ("server {}\nran\nrun.sh\nsite.conf")
    assert one_node.in_pod("web", "cat /etc/nginx/site.conf", "stand-in") == "server {}"
    one_node.in_pod("web", "echo mine >/data/x; echo memory >/dev/shm/y", "app")
    assert one_node.in_pod("web", "cat /var/lib/mysql/x /seen/x /seen/shm/y", "other") == "mine\nmine\nmemory"
    assert one_node.in_pod("web", "touch /var/lib/mysql/z; stat -c %u /seen/z", "other") == "1000"
    assert one_node.in_pod("web", "cat /proc/sys/kernel/hostname", "app") == "web"
    for path in ("/etc/config/x", "/usr/share/nginx/x", "/usr/share/x", "/data/conf/x", "/x", "/host/x"):
        assert one_node.in_pod("web", f"echo >{path}", "app").endswith("Read-only file system"), path
    assert one_node.in_pod("web", "echo >/seen/x; echo >/var/x", "other").count("Read-only file system") == 2
    assert one_node.in_pod("web", "head -c 2000000 /dev/zero >/data/big", "app").endswith("No space left on device")


def test_an_empty_folder_lives_as_long_as_its_pod(one_node: OwnLab) -> None:
    one_node.up()
    one_node.in_pod("web", "echo kept >/data/x; touch /data/end", "app")
    until(lambda: restarts(one_node) == 1)
    assert one_node.in_pod("web", "cat /data/x", "app") == "kept"
    kill(int(one_node.sh("n1", "pgrep -f 'nslab-node n1'").split()[0]))
    one_node.up()
    one_node.in_pod("web", "touch /data/end", "app")
    until(lambda: restarts(one_node) == 2, 25)  # the back-off of ten seconds outlives the node's process
    assert one_node.in_pod("web", "cat /data/x; cat /etc/config/site.conf", "app") == "kept\nserver {}"
    one_node.edit("sizeLimit: 1Mi", "sizeLimit: 2Mi")
    one_node.up()
    assert one_node.in_pod("web", "ls /data; stat -fc %b /data", "app") == "conf\nshm\n512"


def test_nothing_of_its_pods_other_processes_leads_further(one_node: OwnLab) -> None:
    one_node.up()
    assert "Permission denied" in one_node.in_pod("web", "ls /proc/1/root/", "app")
    mounts = one_node.in_pod("web", "cut -d' ' -f2,4 /proc/mounts", "app").splitlines()
    assert not [line for line in mounts if line.startswith(("/proc/0 ", "/proc/1 ", "/mnt "))]
    writable = {line.split()[0] for line in mounts if "rw" in line.split()[1].split(",")}
    assert writable == {"/tmp", "/run", "/var", "/data", "/host/etc", "/dev/shm", "/dev/pts"}
