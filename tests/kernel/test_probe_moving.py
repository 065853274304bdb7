"""A lab that changes by itself while it is probed or compared is not called wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.app.drift import drift_of
from nslab.app.moment import moment
from nslab.app.probe import probe
from nslab.linux.processes.control import ControlClient
from tests.kernel.labkit import TWO_NODES, OwnLab, until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

WEB = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      initContainers:
      - {name: init, image: busybox, command: [touch, /state/ready], volumeMounts: [{name: state, mountPath: /state}]}
      containers:
      - name: web
        image: agnhost
        args: [netexec, --http-port=8080]
        ports: [{containerPort: 8080}]
        readinessProbe: {exec: {command: [test, -e, /state/ready]}, periodSeconds: 1, failureThreshold: 1}
        volumeMounts: [{name: state, mountPath: /state}]
      volumes: [{name: state, emptyDir: {}}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path_factory.mktemp("lab"))
    made.write(TWO_NODES.replace("NAME", made.name).replace("mode: none", "mode: iptables") + WEB)
    try:
        made.up()
        yield made
    finally:
        made.clear()


def change_readiness(lab: OwnLab, pod: str) -> None:
    """Make a pod ready that is not, or the other way round, and wait until all kube-proxies have followed."""
    with ControlClient(lab.name) as control:
        before = moment(lab.name, control)
        lab.in_pod(pod, "rm /state/ready || touch /state/ready")
        until(lambda: (now := moment(lab.name, control)).pods != before.pods and now.followed)


def test_a_pod_that_becomes_ready_during_a_probe(lab: OwnLab) -> None:
    (pod, _) = [pod.name for pod in drift_of(lab.name).lab.pods]
    for _ in range(2):
        told: list[bool] = []  # at each progress of a round, whether it is over

        def progress(done: int, every: int, told: list[bool] = told) -> None:
            if not told:
                change_readiness(lab, pod)
            told.append(done == every)

        found = probe(lab.name, hosts=progress)
        assert found.good, [str(call) for call in found.calls if call.wrong]
        assert sum(told) >= 2, "the first round expected other endpoints"


def test_what_a_kube_proxy_is_about_to_write_is_no_drift(lab: OwnLab) -> None:
    """A node reports, control tells kube-proxies, and they write: `diff` between any two of these finds nothing."""
    (pod, _) = [pod.name for pod in drift_of(lab.name).lab.pods]
    for _ in range(2):
        with ControlClient(lab.name) as control:
            before = moment(lab.name, control)
            lab.in_pod(pod, "rm /state/ready || touch /state/ready")
            while moment(lab.name, control).pods == before.pods:
                assert drift_of(lab.name).plan == ()
            assert drift_of(lab.name).plan == ()
