"""The names of pods, as other pods resolve them, and what a pod finds in its own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.kernel.labkit import OwnLab

pytestmark = pytest.mark.root

OBJECTS = """\
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: None, selector: {app: db}, ports: [{port: 3306}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  replicas: 2
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      hostAliases: [{ip: 10.1.2.3, hostnames: [old.test]}]
      containers: [{name: c, command: [sleep, infinity]}]
"""


DOTTED = """\
---
apiVersion: v1
kind: Pod
metadata: {name: etcd-n1.ec2}
spec: {nodeName: n1.ec2.internal, containers: [{name: c, command: [sleep, infinity]}]}
"""


def test_nodes_and_pods_with_dots_in_their_names(one_node: OwnLab) -> None:
    head = one_node.file.read_text().partition("---")[0]
    one_node.write(head.replace("{name: n1}", "{name: n1.ec2.internal}, {name: n2}") + DOTTED)
    one_node.up()
    assert one_node.in_pod("etcd-n1.ec2", "hostname") == "etcd-n1.ec2"
    assert one_node.in_pod("n1.ec2.internal", "hostname") == "n1.ec2.internal"
    one_node.sh("n1.ec2.internal", "ip route flush table main")
    one_node.sh("switch", "ip link set n1.ec2.internal down")
    assert "switch's n1.ec2.internal is down" in one_node.differences()
    one_node.up()
    assert one_node.differences() == []
    one_node.down()
    assert one_node.left() == []


def test_each_pod_of_a_stateful_set_is_found_by_its_name(one_node: OwnLab) -> None:
    one_node.up()
    addresses = [one_node.in_pod(f"db-{number}", "hostname -i") for number in (0, 1)]
    assert [
        one_node.in_pod("db-1", f"getent ahostsv4 db-{number}.db | head -n 1").split()[0] for number in (0, 1)
    ] == addresses
    assert one_node.in_pod("db-0", "hostname -f") == "db-0.db.default.svc.cluster.local"
    assert one_node.in_pod("db-0", "getent hosts old.test").split() == ["10.1.2.3", "old.test"]
    assert one_node.differences() == []
