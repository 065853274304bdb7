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


def test_each_pod_of_a_stateful_set_is_found_by_its_name(one_node: OwnLab) -> None:
    one_node.up()
    addresses = [one_node.in_pod(f"db-{number}", "hostname -i") for number in (0, 1)]
    assert [
        one_node.in_pod("db-1", f"getent ahostsv4 db-{number}.db | head -n 1").split()[0] for number in (0, 1)
    ] == addresses
    assert one_node.in_pod("db-0", "hostname -f") == "db-0.db.default.svc.cluster.local"
    assert one_node.in_pod("db-0", "getent hosts old.test").split() == ["10.1.2.3", "old.test"]
    assert one_node.differences() == []
