"""kubectl's habits, and those of who types fast: what was meant is done, or named."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nslab.app.change import deletable
from nslab.app.drift import drift_of
from nslab.app.inside import command
from nslab.app.logs import entries
from nslab.errors import UsageError
from nslab.lab.find import find
from nslab.linux.netns import Namespaces, named
from nslab.linux.stored_lab import stored_lab
from nslab.linux.timeouts import scaled
from tests.kernel.labkit import IN_A_WORLD_OF_ITS_OWN, ROOT, OwnLab, nslab, nslabs, until
from tests.unit.cli.test_complete import offered

if TYPE_CHECKING:
    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("calico-two-node", scope="module")]

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: many}
spec:
  replicas: 4
  selector: {matchLabels: {app: many}}
  template:
    metadata: {labels: {app: many}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: pause}]}
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: guest, labels: {app: guest}}
spec: {containers: [{name: c, image: busybox, command: [sh, -c, "echo hello from $HOSTNAME; exec sleep 1000"]}]}
"""


def test_a_command_needs_no_dashes(lab: RunningLab) -> None:
    url = "http://20.111.156.7:8080/hostname"
    for words in (("curl", "-s", url), ("-it", "-c", "app", "curl", "-s", url), ("-i", "-t", "--", "curl", "-s", url)):
        done = nslab("exec", f"{lab.name}/pod-d", *words)
        assert (done.returncode, done.stdout) == (0, "pod-b"), done.stderr


def test_a_pod_typed_as_kubectl_has_it_is_recognized(lab: RunningLab) -> None:
    sentence = f"nslab: {lab.name} names no host: write LAB/HOST; did you mean {lab.name}/pod-b?\n"
    pod = (lab.name, "pod-b")
    for call in (("exec", *pod, "--", "true"), ("exec", *pod), ("logs", *pod), ("shell", *pod)):
        done = nslab(*call)
        assert (done.returncode, done.stdout, done.stderr) == (2, "", sentence)
    for call in (("exec", lab.name, "deploy/web", "--", "true"), ("logs", lab.name, "deploy/web")):
        assert nslab(*call).stderr.endswith(f"; did you mean {lab.name}/deploy/web?\n")
    done = nslab("exec", lab.name, "nosuch", "--", "true")
    assert done.stderr == f"nslab: {lab.name} names no host: write LAB/HOST; as in {lab.name}/client\n"
    done = nslab("shell", f"{lab.name}/pod-b", "true")
    assert (done.returncode, done.stderr.splitlines()[-1]) == (2, "Error: Got unexpected extra argument (true)")
    assert nslab("logs", f"{lab.name}/pod-b", "app").stdout == nslab("logs", f"{lab.name}/pod-b", "-c", "app").stdout


def test_a_pods_namespace_may_be_forgotten_or_an_option(lab: RunningLab) -> None:
    other, words = f"{lab.name}/kube-system/kube-dns", ("--", "hostname")
    bare = f"{lab.name}/kube-dns"
    for done in nslabs((("exec", bare, *words), ("logs", bare), ("shell", bare))):
        assert done.returncode == 2
        assert done.stderr.endswith(f" 'kube-dns'; did you mean {other}?\n")
    for call in (
        ("exec", "-n", "kube-system", bare, *words),
        ("exec", other, *words),
        ("exec", bare, "-n", "kube-system", *words),
    ):
        assert nslab(*call).stdout == "kube-dns\n"
    assert nslab("logs", bare, "-n", "kube-system", "-c", "dnsmasq").returncode == 0
    done = nslab("exec", lab.name, "kube-system/kube-dns", *words)
    assert done.stderr.endswith(f"did you mean {other}?\n")
    done = nslab("probe", lab.name, "--from", "pod-a", "--to", "kube-dns")
    assert done.stderr == "nslab: no host kube-dns in this lab; did you mean kube-system/kube-dns?\n"
    assert nslab("probe", lab.name, "--from", "pod-a", "--to", "kube-system/kube-dns").returncode == 0
    done = nslab("trace", lab.name, "kube-dns", "pod-a")
    assert done.stderr == f"nslab: {lab.name} has no host kube-dns; did you mean kube-system/kube-dns?\n"
    done = nslab("capture", lab.name, "kube-dns")
    assert done.stderr == f"nslab: {lab.name} has no kube-dns; did you mean kube-system/kube-dns?\n"


def test_what_has_pods_stands_for_one_of_them(lab: RunningLab) -> None:
    call = f"{lab.name}/pod/pod-b", f"{lab.name}/svc/svc-b", f"{lab.name}/svc/nosuch", f"{lab.name}/svc/kubernetes"
    pod, service, unknown, none = nslabs(("exec", one, "--", "hostname") for one in call)
    assert (pod.stdout, service.stdout) == ("pod-b\n", "pod-b\n")
    assert (unknown.returncode, unknown.stderr) == (
        2, 'nslab: Error from server (NotFound): services "nosuch" not found\n'
    )  # fmt: skip
    assert (none.returncode, none.stderr) == (2, "nslab: svc/kubernetes has no pods\n")
    assert nslab("logs", f"{lab.name}/pod/pod-b").stdout == nslab("logs", f"{lab.name}/pod-b").stdout


def test_get_prints_what_is_asked_for(lab: RunningLab) -> None:
    every = "{range .items[*]}{.metadata.name} {.status.podIP}{'\\n'}{end}"
    on_node1 = "spec.nodeName=node1,metadata.namespace=default"
    calls: list[tuple[object, ...]] = [
        ("pod/pod-b", "-o", "jsonpath={.status.podIP}"),
        ("pods", "-o", f"jsonpath={every}", "--field-selector", on_node1),
        ("po", "-o", "custom-columns=NAME:.metadata.name,NODE:.spec.nodeName", "--sort-by=.metadata.name"),
        ("po", "-oname", "--sort-by", ".status.podIP", "--field-selector=metadata.name!=pod-a"),
        ("po", "--sort-by", ".nothing"),
    ]
    one, some, columns, names, wrong = nslabs(("get", lab.name, *words) for words in calls)
    assert one.stdout == "20.111.156.7"
    assert some.stdout == f"pod-a {lab.pod('pod-a').address}\npod-b 20.111.156.7\n"
    assert columns.stdout == "NAME    NODE\npod-a   node1\npod-b   node1\npod-c   node2\npod-d   node2\n"
    assert sorted(names.stdout.split()) == ["pod/pod-b", "pod/pod-c", "pod/pod-d"]
    assert (wrong.returncode, "couldn't find any field with path" in wrong.stderr) == (2, True)


def test_delete_takes_labels(lab: RunningLab) -> None:
    lab.apply(POD)
    done = nslab("delete", lab.name, "pods", "-l", "app=guest", "--force")
    assert (done.returncode, done.stdout) == (0, 'pod "guest" deleted\n'), done.stderr
    none, named_too = nslabs(("delete", lab.name, *words, "-l", "app=guest") for words in (["pods"], ["pod/guest"]))
    assert (none.returncode, none.stderr) == (0, "No resources found\n")
    assert (named_too.returncode, "name cannot be provided when a selector" in named_too.stderr) == (2, True)
    assert "guest" not in nslab("get", lab.name, "pods").stdout
    assert deletable(lab.name, "svc", "default") == ["service/svc-b"]  # nslab makes the service kubernetes


def test_get_watches(lab: RunningLab) -> None:
    call = [sys.executable, "-m", "nslab", "get", lab.name, "pods", "-w"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, cwd=ROOT) as watching:
        assert watching.stdout
        try:
            assert [watching.stdout.readline().split()[0] for _ in range(5)][1:] == ["pod-a", "pod-b", "pod-c", "pod-d"]
            lab.apply(POD)
            assert watching.stdout.readline().split()[0] == "guest"
        finally:
            watching.kill()
            lab.delete("pod/guest", grace=0)


def test_get_ends_when_nobody_reads_it_any_more(lab: RunningLab) -> None:
    call = [sys.executable, "-m", "nslab", "get", lab.name, "pods", "-w"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd=ROOT) as watching:
        assert watching.stdout
        watching.stdout.readline()
        watching.stdout.close()
        assert watching.wait(scaled(10)) == 128 + signal.SIGPIPE


def test_diff_right_after_a_change_waits_for_what_goes(lab: RunningLab) -> None:
    lab.apply(DEPLOYMENT)
    try:
        assert nslab("scale", lab.name, "deploy", "many", "--replicas=2").stdout == "deployment.apps/many scaled\n"
        for replicas in (1, 4) * 4:
            lab.scale("deployment/many", replicas)
            drift = drift_of(lab.name)
            assert [str(step) for step in drift.plan] == []
    finally:
        lab.delete("deployment/many", grace=0)


def test_logs_of_all_pods_with_a_label(lab: RunningLab) -> None:
    lab.apply(POD.replace("guest,", "guest-1,") + "---\n" + POD.replace("guest,", "guest-2,"), wait=True)
    both = [f"[pod/guest-{number}/c] hello from guest-{number}" for number in (1, 2)]
    until(lambda: nslab("logs", lab.name, "-l", "app=guest", "--prefix").stdout.splitlines() == both)
    assert nslab("logs", lab.name, "-l", "app=guest", "--tail=0").stdout == ""
    assert nslab("logs", lab.name, "-l", "app=x").stderr == "No resources found in default namespace.\n"
    assert nslab("logs", f"{lab.name}/guest-1", "-l", "app=guest").returncode == 2
    logs = ("logs", f"{lab.name}/guest-1", "--since")
    assert nslab(*logs, "1h").stdout == nslab(*logs[:2]).stdout != nslab(*logs, "1ns").stdout == ""
    sentence = 'nslab: error: invalid argument "5" for "--since" flag: time: missing unit in duration "5"\n'
    assert nslab(*logs, "5").stderr == sentence
    call = [sys.executable, "-m", "nslab", "logs", lab.name, "-l", "app=guest", "--prefix", "-f"]
    with subprocess.Popen(call, stdout=subprocess.PIPE, text=True, cwd=ROOT) as following:
        assert following.stdout
        assert sorted(following.stdout.readline().rstrip() for _ in both) == both
        done = nslab("delete", lab.name, "pod", "guest-1", "guest-2", "--wait", "--force")
        assert done.returncode == 0, done.stderr
        assert following.stdout.read() == ""
    assert following.returncode == 0


def test_a_lab_that_does_not_run_is_named_with_its_way_up(lab: RunningLab) -> None:
    near = f"{lab.name[:-1]}"
    wanted = {
        "pause-pod": "`nslab up pause-pod` brings it up",
        "pause-pdo": "did you mean pause-pod? `nslab up pause-pod` brings it up",
        near: f"did you mean {lab.name}?",
        "zebra": "`nslab ps` lists those that run",
        "pods": "the lab comes first, as in `nslab get LAB pods`",
        "deploy,all": "the lab comes first, as in `nslab get LAB deploy,all`",
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


def test_an_edited_file_is_a_change_and_no_damage(tmp_path: Path) -> None:
    own = OwnLab(tmp_path)
    own.up()
    try:
        done = nslab("set", own.name, "proxy-mode=nftables")
        assert done.stdout.startswith(f"{own.name}: proxy-mode=nftables (was iptables); ")
        own.write(own.file.read_text().replace("--http-port=8080", "--http-port=9090", 1))
        first, *lines = own.up().splitlines()
        assert re.fullmatch(rf"{own.name}: changed in \d+\.\d\d s, \d+ steps", first)
        assert lines[0] == "  back to the file: proxy-mode iptables (was nftables)"
        args = "args netexec --http-port=8080 -> netexec --http-port=9090"
        assert lines[1] == f"  changed: pod pod-a, container app: {args}"
        assert not any("not the lab's" in line for line in lines)
        assert "as it should be" in own.up()
        assert "  changed: encapsulation VXLAN (was IPIP)\n" in own.up("--encapsulation", "VXLAN")
    finally:
        own.clear()


def test_a_shell_is_offered_what_the_lab_holds(lab: RunningLab) -> None:
    assert {*offered(f"nslab probe {lab.name} --from p")} == {"pod-a", "pod-b", "pod-c", "pod-d"}
    assert {"node1", "client"} <= {*offered(f"nslab probe {lab.name} --to ")}
    assert offered(f"nslab exec {lab.name}/pod-b -c ") == ["app"]
    assert offered(f"nslab logs {lab.name}/kube-system_kube-dns -c ") == ["kubedns", "dnsmasq"]
    assert offered(f"nslab delete {lab.name} service/s") == ["service/svc-b"]
    assert {*offered(f"nslab delete {lab.name} pod/")} == {"pod/pod-a", "pod/pod-b", "pod/pod-c", "pod/pod-d"}
    assert offered(f"nslab scale {lab.name} ") == []


def test_up_names_the_guide_and_says_once_what_the_kernel_lacks(tmp_path: Path) -> None:
    script = f"""
        mount -t tmpfs none /run
        for shipped in calico-two-node pause-pod calico-two-node; do {sys.executable} -m nslab up $shipped 2>&1; done
        cp {find("pause-pod")} {tmp_path}/mine.yaml
        {sys.executable} -m nslab up {tmp_path}/mine.yaml 2>&1
        {sys.executable} -m nslab down --all
    """
    said = subprocess.run([*IN_A_WORLD_OF_ITS_OWN, script], cwd=ROOT, capture_output=True, text=True).stdout
    assert said.count("Next:\n  nslab show calico-two-node --guide\n  nslab probe calico-two-node\n") == 1
    assert said.count("Next:\n  nslab show pause-pod --guide\n") == 1
    assert "calico-two-node is as it should be" in said
    assert said.count("no ipip driver") == (0 if Path("/sys/module/ipip").exists() else 1)


def test_json_has_numbers_and_booleans(lab: RunningLab) -> None:
    def answer(*call: str) -> Any:
        return json.loads(nslab(*call, "-o", "json").stdout)

    assert {type(row["up"]) for row in answer("labs")} == {bool}
    assert {type(row["works"]) for row in answer("doctor")} == {bool}
    pods = answer("ps", lab.name)
    assert [row["name"] for row in pods] == ["pod-a", "pod-b", "pod-c", "pod-d", "kube-dns"]
    numbers = ("readyContainers", "containers", "restarts", "ageSeconds")
    assert {type(row[name]) for row in pods for name in numbers} == {int}
    lines = nslab("ps", lab.name).stdout.splitlines()
    assert [line.split()[:3] for line in lines[1:3]] == [["default", "pod-a", "1/1"], ["default", "pod-b", "1/1"]]


def test_inspect_has_routes_as_ip_has_them(lab: RunningLab) -> None:
    host = f"{lab.name}/node2"
    typed = json.loads(lab.sh("node2", "ip -j route"))
    rows = json.loads(nslab("inspect", host, "-o", "json").stdout)
    found = [route for row in rows for route in row["routes"]]
    assert sorted(map(str, found)) == sorted(map(str, typed))
    assert any(route.get("type") == "blackhole" for route in found)
    assert all(route["dev"] == row["interface"] for row in rows for route in row["routes"] if "dev" in route)
    assert "ROUTES" not in nslab("inspect", host).stdout


def test_what_meets_down_on_its_way_says_so(tmp_path: Path) -> None:
    """`down` unbinds the names at once, and takes the folder away last."""
    own = OwnLab(tmp_path, "pause-pod")
    own.up()
    words = f"there is no running lab {own.name!r}; `nslab ps` lists those that run"
    try:
        before = stored_lab(own.name)
        for process in own.pids().values():
            os.kill(process, 9)
        for ns in named(own.name):
            Namespaces().remove(ns)
        with pytest.raises(UsageError, match=re.escape(words)):
            command(own.name, "pod-1", None, ["true"])
        own.clear()
        with pytest.raises(UsageError, match=re.escape(words)):
            list(entries(own.name, before.pods[0], None))
    finally:
        own.clear()
    assert own.left() == []


def on_a_terminal(line: str, *, columns: int = 80, root: bool = True, **environment: str) -> list[str]:
    """What a terminal shows of a call of nslab."""
    drop = [] if root else ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    drop += [] if root else ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search", "--"]
    command = f"stty cols {columns} rows 400; {sys.executable} -m nslab {line}"
    base = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "PAGER")}
    env = {**base, "TERM": "xterm", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1", **environment}
    argv = [*drop, "script", "-qec", command, "/dev/null"]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    return done.stdout.replace("\r", "").splitlines()


def test_a_guide_opens_in_the_pager_of_who_is_not_root() -> None:
    lines = on_a_terminal("show pause-pod --guide", root=False, PAGER="sed 's/^/paged /'")
    assert lines[0].startswith("paged 2. ")
    assert all(line.startswith("paged") for line in lines)
    roots = "\n".join(on_a_terminal("show pause-pod --step 2.1", PAGER="sed 's/^/paged /'"))
    assert "2.1 " in roots
    assert "paged" not in roots


def test_lists_fit_a_narrow_terminal(lab: RunningLab) -> None:
    for line in ("labs", "show kube-dns --step 13.1", f"ps {lab.name}", f"probe {lab.name} --from client"):
        lines = on_a_terminal(line, columns=60)
        wide = [one for one in lines if len(one) > 60 and "   " in one.strip()]
        assert lines
        assert wide == [], line
    (first, second, *_) = on_a_terminal(f"ps {lab.name}", columns=60)
    assert (first.split()[0], second.split()) == ("NAMESPACE", ["IP", "NODE"])
    assert "    20.111.156.7  node1" in on_a_terminal(f"ps {lab.name}", columns=60)
    whole = nslab("probe", lab.name, env={**os.environ, "COLUMNS": "40"}).stdout.splitlines()
    assert whole[1].split()[:2] == ["pod-a", "pod-b"], "into a file the table is whole"
