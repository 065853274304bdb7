"""kubectl's habits, and those of who types fast: what was meant is done, or named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import OwnLab, nslab, nslabs
from tests.unit.cli.test_complete import offered

if TYPE_CHECKING:
    from pathlib import Path

    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("calico-two-node", scope="module")]


def test_a_command_needs_no_dashes(lab: RunningLab) -> None:
    url = "http://20.111.156.7:8080/hostname"
    for words in (("curl", "-s", url), ("-it", "-c", "app", "curl", "-s", url), ("-i", "-t", "--", "curl", "-s", url)):
        done = nslab("exec", f"{lab.name}/pod-d", *words)
        assert (done.returncode, done.stdout) == (0, "pod-b"), done.stderr


def test_a_pod_typed_as_kubectl_has_it_is_recognized(lab: RunningLab) -> None:
    sentence = f"nslab: {lab.name} has no host: write LAB/HOST; did you mean {lab.name}/pod-b?\n"
    for call in (("exec", lab.name, "pod-b", "--", "true"), ("exec", lab.name, "pod-b"), ("logs", lab.name, "pod-b")):
        done = nslab(*call)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
    done = nslab("exec", lab.name, "nosuch", "--", "true")
    assert done.stderr == f"nslab: {lab.name} has no host: write LAB/HOST; as in calico-two-node/pod-b\n"
    assert nslab("logs", f"{lab.name}/pod-b", "app").stdout == nslab("logs", f"{lab.name}/pod-b", "-c", "app").stdout


def test_a_lab_that_does_not_run_is_named_with_its_way_up(lab: RunningLab) -> None:
    near = f"{lab.name[:-1]}"
    wanted = {
        "pause-pod": "`nslab up pause-pod` brings it up",
        "pause-pdo": "did you mean pause-pod? `nslab up pause-pod` brings it up",
        near: f"did you mean {lab.name}?",
        "zebra": "`nslab ps` lists those that run",
    }
    for (name, way_on), done in zip(wanted.items(), nslabs(("ps", name) for name in wanted), strict=True):
        assert done.stderr == f"nslab: there is no running lab {name!r}; {way_on}\n"


def test_a_running_lab_is_shown_and_planned_by_its_name(lab: RunningLab) -> None:
    shown, planned = nslabs((("show", lab.name), ("plan", lab.name)))
    assert (shown.returncode, planned.returncode) == (0, 0), shown.stderr + planned.stderr
    assert shown.stdout.startswith(f"{lab.name}: calico, IPIP; 2 nodes")
    assert "\n\n\n" not in shown.stdout
    assert f"ip netns add nslab.{lab.name}.node1" in planned.stdout


def test_down_takes_a_file(tmp_path: Path) -> None:
    own = OwnLab(tmp_path, "pause-pod")
    for call in ((own.file,), ("-f", own.file)):
        own.up()
        done = nslab("down", *call)
        assert done.stdout.startswith(f"{own.name} is down: ")
        assert own.left() == []


def test_a_shell_is_offered_what_the_lab_holds(lab: RunningLab) -> None:
    assert {*offered(f"nslab probe {lab.name} --from p")} == {"pod-a", "pod-b", "pod-c", "pod-d"}
    assert {"node1", "client"} <= {*offered(f"nslab probe {lab.name} --to ")}
    assert offered(f"nslab exec {lab.name}/pod-b -c ") == ["app"]
    assert offered(f"nslab logs {lab.name}/kube-system_kube-dns -c ") == ["kubedns", "dnsmasq"]
    assert offered(f"nslab delete {lab.name} service/s") == ["service/svc-b"]
    assert {*offered(f"nslab delete {lab.name} pod/")} == {"pod/pod-a", "pod/pod-b", "pod/pod-c", "pod/pod-d"}
    assert offered(f"nslab scale {lab.name} ") == []
