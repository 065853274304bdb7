"""A CronJob makes Jobs that run, and takes the oldest away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nslab.linux.netns import RUN
from tests.kernel.labkit import TWO_NODES, OwnLab, nslab, until

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


def test_its_controllers_end_with_the_lab(tmp_path: Path) -> None:
    lab = OwnLab(tmp_path)
    lab.write(TWO_NODES.replace("NAME", lab.name) + TICK.replace("@every 1s", "@yearly"))
    try:
        lab.up()
        file = RUN / lab.name / "controllers"
        until(file.exists)
        pid = file.read_text().split()[0]
        assert lab.name in Path(f"/proc/{pid}/cmdline").read_text()
        lab.down()
        stat = Path(f"/proc/{pid}/stat")
        assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z", "it waits for its parent"
    finally:
        lab.clear()
