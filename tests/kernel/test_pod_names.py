"""The names of pods, as other pods resolve them, and what a pod finds in its own files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import OwnLab, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.root

OBJECTS = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: LAB}
spec: {nodes: [{name: n1}], dns: {address: 10.96.0.10}}
---
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


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path)
    made.write(OBJECTS.replace("LAB", made.name))
    try:
        yield made
    finally:
        made.clear()


def run(lab: OwnLab, pod: str, command: str) -> str:
    return nslab("exec", f"{lab.name}/{pod}", "--", "sh", "-c", command).stdout.strip()


def test_each_pod_of_a_stateful_set_is_found_by_its_name(lab: OwnLab) -> None:
    lab.up()
    addresses = [run(lab, f"db-{number}", "hostname -i") for number in (0, 1)]
    assert [
        run(lab, "db-1", f"getent ahostsv4 db-{number}.db | head -n 1").split()[0] for number in (0, 1)
    ] == addresses
    assert run(lab, "db-0", "hostname -f") == "db-0.db.default.svc.cluster.local"
    assert run(lab, "db-0", "getent hosts old.test").split() == ["10.1.2.3", "old.test"]
    assert lab.differences() == []
