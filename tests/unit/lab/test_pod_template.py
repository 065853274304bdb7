"""What makes a pod template another one, and what does not: pods have its hash in their names and labels."""

from __future__ import annotations

import pytest
import yaml

from nslab.admission.change import applied
from nslab.controllers.controlled import stepped
from nslab.lab.pod_template import template_hash
from nslab.lab.status import merge_status
from tests.unit.lab.test_rollout import LAB, NOW, all_ready, named, parse, stored, unfinished

TEMPLATE = """\
metadata: {labels: {app: web}}
spec:
  containers:
  - name: c
    image: nginx:1.27
    command: [sleep, one]
    ports: [{containerPort: 80}]
    readinessProbe: {httpGet: {port: 80}}
    volumeMounts: [{name: data, mountPath: /data}]
    env: [{name: EMPTY}, {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
  volumes: [{name: data, configMap: {name: data}}]
"""


def changed(*edit: str) -> str:
    """The template with a text replaced by another."""
    before, after = edit
    assert TEMPLATE.count(before) == 1
    return TEMPLATE.replace(before, after)


def hash_of(template: str) -> str:
    """The hash of a Deployment's template in a lab, which is the same after the lab is stored."""
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": yaml.safe_load(template)}
    one = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}
    lab = stored(parse(LAB + yaml.safe_dump(one), "x"))
    return template_hash(lab.controllers[0].template)


@pytest.mark.parametrize(
    "edit",
    [
        ("{app: web}", "{app: web, tier: front}"),
        ("metadata: {", "metadata: {annotations: {restarted: now}, "),
        ("spec:\n", "spec:\n  priorityClassName: high\n"),
        ("spec:\n", "spec:\n  automountServiceAccountToken: false\n"),
        ("spec:\n", "spec:\n  terminationGracePeriodSeconds: 0\n"),
        ("spec:\n", "spec:\n  hostNetwork: true\n"),
        ("nginx:1.27", "nginx:1.28"),
        ("nginx:1.27", "nginx:1.27\n    imagePullPolicy: Always"),
        ("    command", "    resources: {requests: {cpu: 100m}}\n    command"),
        ("    command", "    securityContext: {runAsUser: 0}\n    command"),
        ("    command", "    securityContext: {readOnlyRootFilesystem: false}\n    command"),
        ("containerPort: 80", "containerPort: 80, name: http"),
        ("httpGet: {port: 80}", "httpGet: {port: 80}, periodSeconds: 11"),
        ("mountPath: /data", "mountPath: /data, readOnly: true"),
        ("configMap: {name: data}", "configMap: {name: data, defaultMode: 256}"),
        ("volumes: [", "volumes: [{name: more, emptyDir: {}}, "),
        ("{name: EMPTY}", "{name: EMPTY, value: x}"),
        ("  volumes", "  initContainers: [{name: i, image: busybox, restartPolicy: Always}]\n  volumes"),
    ],
)
def test_any_other_field_is_another_template(edit: tuple[str, str]) -> None:
    assert hash_of(changed(*edit)) != hash_of(TEMPLATE)


@pytest.mark.parametrize(
    "edit",
    [
        ("metadata: {", "metadata: {creationTimestamp: null, annotations: {}, "),
        ("spec:\n", "spec:\n  securityContext: {}\n  restartPolicy: Always\n  dnsPolicy: ClusterFirst\n"),
        ("spec:\n", "spec:\n  schedulerName: default-scheduler\n  terminationGracePeriodSeconds: 30\n"),
        ("spec:\n", "spec:\n  hostNetwork: false\n  enableServiceLinks: true\n"),
        ("nginx:1.27", "nginx:1.27\n    imagePullPolicy: IfNotPresent"),
        (
            "    command",
            "    terminationMessagePath: /dev/termination-log\n    resources: {}\n    tty: false\n    command",
        ),
        ("containerPort: 80", "containerPort: 80, protocol: TCP, hostPort: 0"),
        ("httpGet: {port: 80}", "httpGet: {port: 80, path: /, scheme: HTTP}, periodSeconds: 10, timeoutSeconds: 1"),
        ("mountPath: /data", "mountPath: /data, readOnly: false"),
        ("configMap: {name: data}", "configMap: {name: data, defaultMode: 420}"),
        ("fieldPath", "apiVersion: v1, fieldPath"),
        ("{name: EMPTY}", '{name: EMPTY, value: ""}'),
    ],
)
def test_what_is_the_default_changes_nothing(edit: tuple[str, str]) -> None:
    assert hash_of(changed(*edit)) == hash_of(TEMPLATE)


@pytest.mark.parametrize(
    ("image", "policy"),
    [("web", "Always"), ("web:latest", "Always"), ("web:1", "IfNotPresent"), ("reg:5000/web", "Always")],
)
def test_the_default_policy_of_pulling_is_the_tags(image: str, policy: str) -> None:
    plain = changed("nginx:1.27", image)
    assert hash_of(plain.replace("    command", f"    imagePullPolicy: {policy}\n    command")) == hash_of(plain)
    assert hash_of(plain.replace("    command", "    imagePullPolicy: Never\n    command")) != hash_of(plain)


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet", "DaemonSet"])
def test_a_field_that_nslab_does_not_act_on_makes_a_rollout(kind: str) -> None:
    text = f"""\
apiVersion: apps/v1
kind: {kind}
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      priorityClassName: low
      containers: [{{name: c, command: [sleep, one]}}]
"""
    lab = stored(parse(LAB + text, "x"))
    made = merge_status(applied(lab, text.replace("low", "high"))[0], lab)
    after = stored(stepped(made, lab, all_ready(lab), NOW))
    assert unfinished(after) == [*after.controllers]
    assert {pod.name: pod.uid for pod in named(after)} != {pod.name: pod.uid for pod in named(lab)}
