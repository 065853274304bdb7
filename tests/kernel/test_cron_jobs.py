"""A CronJob makes Jobs that run, and takes the oldest away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.kernel.labkit import TWO_NODES, OwnLab, nslab, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

TICK = """\
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: tick}
spec:
  schedule: "@every 1s"
  successfulJobsHistoryLimit: 1
  jobTemplate:
    spec:
      template:
        spec:
          terminationGracePeriodSeconds: 0
          restartPolicy: Never
          containers: [{name: c, command: [echo, tock]}]
"""


def got(lab: OwnLab, what: str) -> list[dict[str, Any]]:
    return list(json.loads(nslab("get", lab.name, what, "-o", "json").stdout)["items"])


def test_it_ticks(tmp_path: Path) -> None:
    lab = OwnLab(tmp_path)
    lab.write(TWO_NODES.replace("NAME", lab.name) + TICK)
    try:
        lab.up()
        until(lambda: "lastSuccessfulTime" in got(lab, "cronjobs")[0].get("status", {}), 20)
        pods = [one["metadata"]["name"] for one in got(lab, "pods") if one["status"]["phase"] == "Succeeded"]
        assert nslab("logs", f"{lab.name}/{pods[0]}").stdout == "tock\n"
        assert nslab("delete", lab.name, "cronjob/tick").returncode == 0
        until(lambda: not got(lab, "jobs") and not got(lab, "pods"))
        assert lab.differences() == []
    finally:
        lab.clear()
