"""The pytest plugin with real labs: what its handles tell, and runs of pytest as a user's."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nslab.linux.observe.host import driver
from tests.kernel.labkit import nslab, processes

if TYPE_CHECKING:
    from collections.abc import Callable

    from nslab.pytest_plugin.running import RunningLab

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.root

RUN, IP_NETNS = Path("/run/nslab"), Path("/run/netns")
NAME = re.compile(r"h13-[0-9a-f]{8}")
SMALL = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: h13}
spec:
  cni: {plugin: calico, encapsulation: None}
  proxy: {mode: iptables}
  nodes:
  - {name: node1, address: 192.168.59.22, podCIDR: 20.111.156.0/26}
  - {name: node2, address: 192.168.59.23, podCIDR: 20.109.131.0/26}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: app, image: agnhost, args: [netexec]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: shell}
spec: {nodeName: node2, containers: [{name: app, command: [sleep, infinity]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: 10.96.1.1, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
PLUGINS = ("-p", "nslab", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""Hypothesis takes longer to import than a lab to come up."""
COMMAND = (sys.executable, "-m", "pytest", *PLUGINS, "-W", "error")


@pytest.fixture
def user(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A user's folder, with a small lab of his own; it has the packets of his failed tests, too."""
    monkeypatch.setenv("TMPDIR", str(pytester.path))
    (pytester.path / "lab.yaml").write_text(SMALL)
    return pytester


def run(user: pytest.Pytester, text: str, *arguments: str) -> pytest.RunResult:
    """A run of pytest; afterwards nothing is left of its labs, but those that it kept."""
    user.makepyfile(f"import pytest\nhere = pytest.mark.lab('lab.yaml')\n{text}")
    result = user.runpytest_subprocess(*COMMAND[3:], *arguments)
    kept = "--nslab-keep" in arguments
    assert [line for name in names_in(result.stdout.str()) for line in left(name) if not kept] == []
    return result


def left(name: str) -> list[str]:
    names = [str(path) for path in IP_NETNS.glob(f"nslab.{name}.*")] if IP_NETNS.exists() else []
    return [*names, *(str(path) for path in RUN.glob(f"{name}*")), *map(str, processes(name))]


def names_in(text: str) -> list[str]:
    return list(dict.fromkeys(NAME.findall(text)))


# --- handles -------------------------------------------------------------------------------------------------------


@pytest.mark.lab("services-iptables")
def test_all_replicas_answer_by_the_service_by_name_and_by_node_port(lab: RunningLab) -> None:
    names = {pod.name for pod in lab.pods(app="web")}
    assert len(names) == 4
    assert {lab.pod("box-1").http("10.103.9.116/hostname").text for _ in range(40)} == names
    assert lab.client().http("node2:31080/hostname").text in names
    assert lab.pod("box-2").http("http://web/hostname").text in names
    with pytest.raises(ConnectionRefusedError):
        lab.pod("box-1").http("nobody")
    assert lab.diff() == []


def test_two_labs_with_the_same_addresses(make_lab: Callable[..., RunningLab]) -> None:
    own, other = make_lab("calico-two-node"), make_lab("calico-two-node", encapsulation="VXLAN")
    for lab in (own, other):
        assert lab.pod("pod-a").connect("20.109.131.3", 8080)
        assert lab.diff() == []
    assert own.node("node1").json("ip", "-j", "route", "show", "20.109.131.0/26")[0]["dev"] == "tunl0"
    assert other.node("node1").json("ip", "-j", "route", "show", "20.109.131.0/26")[0]["dev"] == "vxlan.calico"


@pytest.mark.lab("calico-two-node")
def test_what_handles_tell(lab: RunningLab) -> None:
    pod, client, node = lab.pod("pod-d"), lab.client("client"), lab.node("node1")
    answer = pod.http("http://svc-b.default:8080/echo?msg=hello")
    assert (answer.status, answer.text) == (200, "hello")
    assert (str(answer.source), str(answer.to[0]), answer.to[1]) == ("20.109.131.3", "10.103.9.116", 8080)
    assert pod.http("svc-b:8080/echo?msg=no&code=418").status == 418
    assert pod.seen_as("svc-b:8080") == pod.address == "20.109.131.3"
    assert (answer.source, answer.to[0]) == ("20.109.131.3", lab.service("svc-b").cluster_ip)
    assert lab.service("svc-b").cluster_ip == "10.103.9.116" == pod.resolve("svc-b")
    assert pod.ping("svc-b").outcome != "reached"  # a Service is no machine
    assert pod.ping(node)
    assert pod.ping("20.111.156.7", size=1480)
    assert pod.ping("20.111.156.7", size=1481).outcome == "too big"
    assert pod.connect("20.111.156.7", 8081, udp=True).text == "pod-b"
    assert pod.connect("20.111.156.7", 9, udp=True).outcome == "refused"
    assert pod.connect("20.111.156.7", 9).outcome == "refused"
    assert client.connect("20.111.156.7", 8080).outcome == "unreachable"
    node.run("ip", "route", "add", "blackhole", "9.9.9.9")
    node.run("iptables", "-A", "OUTPUT", "-d", "20.111.156.7", "-j", "DROP")
    assert node.connect("20.111.156.7", 8080, timeout=0.2).outcome == "timed out"
    assert not node.connect("9.9.9.9", 1)
    with pytest.raises(TimeoutError) as caught:
        node.http("20.111.156.7:8080", timeout=0.2)
    assert caught.value.__notes__ == [f"{node.netns} -> 20.111.156.7:8080 (20.111.156.7:8080)"]
    for name in ("svc-c", "www.example.org"):
        with pytest.raises(OSError, match=f"DNS knows no '{name}': NXDOMAIN"):
            pod.resolve(name)
    with pytest.raises(OSError, match="client knows no 'svc-b'; it knows node1, node2, client"):
        client.resolve("svc-b")
    with pytest.raises(LookupError, match="no pod 'pod-x'; it has pod-a, pod-b"):
        lab.pod("pod-x")


@pytest.mark.lab("calico-cross-subnet")
def test_a_router_is_a_host_like_others(lab: RunningLab, tmp_path: Path) -> None:
    router = lab.router()
    assert router.run("hostname").stdout == "router\n"
    assert router.ping(lab.node("node3"))
    with pytest.raises(LookupError, match="no router 'r2'; it has router"):
        lab.router("r2")
    (router_s,) = (one for one in lab.packets.captured() if one.node == "router")
    (tmp_path / "router.pcap").write_bytes(router_s.pcap(router_s.packets))
    argv = ["tcpdump", "-nr", tmp_path / "router.pcap", "icmp"]
    output = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert output.stdout.count(f"> {lab.node('node3').address}: ICMP echo request") == 1


@pytest.mark.lab("calico-two-node")
def test_what_is_run_is_run_there(lab: RunningLab) -> None:
    pod = lab.pod("pod-d")
    assert pod.run("hostname").stdout == "pod-d\n"
    assert pod.run("cat", text="in and out").stdout == "in and out"
    assert pod.run("sh", "-c", "echo err >&2; exit 3", check=False).returncode == 3
    assert pod.run("no-such-command", check=False).returncode == 127
    assert pod.run("ip", "link", "set", "lo", "down", check=False).returncode != 0, "a container's rights, no more"
    with pytest.raises(AssertionError, match=r"pod-d: sh -c echo why >&2; exit 3: exit status 3\nwhy"):
        pod.run("sh", "-c", "echo why >&2; exit 3")
    with pytest.raises(AssertionError, match=r"sleep 1000: not within 0\.3 s"):
        pod.run("sleep", "1000", timeout=0.3)
    lab.wait(lambda: pod.run("pgrep", "-x", "sleep", check=False).returncode == 1)
    with pytest.raises(AssertionError, match="container other of pod-d does not run"):
        pod.run("true", container="other")
    assert lab.node("node1").json("ip", "-j", "route", "show", "default")[0]["dev"] == "eth0"


@pytest.mark.lab("services-iptables")
def test_changes_are_followed(lab: RunningLab, tmp_path: Path) -> None:
    lab.wait()
    assert lab.scale("web", 1) == ["deployment.apps/web scaled"]
    (pod,) = lab.pods(app="web")
    assert {lab.pod("box-1").http("web/hostname").text for _ in range(10)} == {pod.name}
    extra = (
        "apiVersion: v1\nkind: Service\nmetadata: {name: extra}\nspec: {clusterIP: 10.103.9.200, selector: {app: web}"
    )
    (tmp_path / "extra.yaml").write_text(f"{extra}, ports: [{{port: 80, targetPort: http}}]}}\n")
    assert lab.apply(tmp_path / "extra.yaml") == ["service/extra created"]
    assert lab.wait(lambda: lab.pod("box-1").http("extra/hostname").text) == pod.name
    assert lab.apply((tmp_path / "extra.yaml").read_text()) == ["service/extra unchanged"]
    assert str(lab.service("extra").cluster_ip) == "10.103.9.200"
    assert lab.delete("service/extra") == ['service "extra" deleted']
    assert lab.set(proxy_mode="nftables") != []
    assert "table ip kube-proxy" in lab.node("node1").run("nft", "list", "tables").stdout
    assert lab.diff() == []


@pytest.mark.lab("calico-two-node")
def test_a_probe_that_fails_gives_the_reasons(lab: RunningLab) -> None:
    lab.node("node2").run("ip", "route", "del", "20.111.156.0/26")
    assert [line for line in lab.diff() if "20.111.156.0/26" in line] == lab.diff() != []
    with pytest.raises(AssertionError, match=r"4 of \d+ answers are wrong") as caught:
        lab.probe("pod-d", "pod-b")
    assert "node2 has no route to 20.111.156.0/26 (BIRD's)" in str(caught.value)
    assert "pod-d -> pod-b (icmp: timed out)" in str(caught.value)
    assert lab.mend() != []
    assert lab.probe("pod-d", "pod-b")


# --- runs of pytest ------------------------------------------------------------------------------------------------


def test_each_test_has_a_lab_and_each_lab_a_name(user: pytest.Pytester) -> None:
    result = run(
        user,
        """
        @here
        def test_one(lab):
            print("MINE", lab.name)
            assert lab.pod("shell").http("10.96.1.1/hostname").text == "web"

        @here
        def test_two(lab, make_lab):
            print("MINE", lab.name)
            assert make_lab("lab.yaml").name != lab.name
        """.replace("\n        ", "\n"),
        "-rP",
    )
    result.assert_outcomes(passed=2)
    assert len(names_in(result.stdout.str())) == 2


def test_a_module_s_tests_share_a_lab(user: pytest.Pytester) -> None:
    result = run(
        user,
        """
pytestmark = pytest.mark.lab("lab.yaml", scope="module")
seen = []

def test_one(lab, module_lab):
    assert lab is module_lab
    seen.append(lab.name)
    print("MINE", lab.name)

def test_two(lab):
    assert [lab.name] == seen

@pytest.mark.lab("lab.yaml", encapsulation="VXLAN", scope="module")
def test_other(lab):
    assert [lab.name] != seen

@here
def test_own(lab):
    assert [lab.name] != seen
""",
        "-rP",
    )
    result.assert_outcomes(passed=4)
    assert len(names_in(result.stdout.str())) == 1


MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: %s}
"""


@pytest.mark.lab("calico-two-node")
def test_threads_change_a_lab_one_after_the_other(lab: RunningLab) -> None:
    """As those do that keep packets flowing while the test changes something else."""
    with ThreadPoolExecutor() as threads:
        told = list(threads.map(lambda number: lab.apply(MAP % f"map-{number}"), range(4)))
    assert told == [[f"configmap/map-{number} created"] for number in range(4)]
    assert sorted(one.name for one in lab.desired.others) == [f"map-{number}" for number in range(4)]


@pytest.mark.lab("calico-two-node")
@pytest.mark.parametrize(
    ("number", "ends"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, pytest.exit.Exception)]
)
def test_a_signal_during_a_change_ends_pytest(lab: RunningLab, number: int, ends: type[BaseException]) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        signal.raise_signal(number)
        with pytest.raises(ends):
            lab.set(proxy_mode="nftables")
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    assert lab.desired.proxy_mode == "iptables"
    assert lab.diff() == []


BROKEN = """
@here
def test_broken(lab):
    lab.node("node2").run("ip", "route", "del", "20.111.156.0/26")
    assert lab.pod("shell").ping(lab.pod("web"), timeout=0.7)
"""


def test_a_failed_test_tells_of_its_lab(user: pytest.Pytester) -> None:
    """In short; nothing of rules that are as they should be. The files that it names have everything."""
    result = run(user, BROKEN)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*- nslab diff h13-*",
            "node2 has no route to 20.111.156.0/26 (BIRD's)*",
            "*- packets on node2: *",
            "*- whole, in files -*",
            "*/nslab-h13-*: diff.txt, node1.pcap, node2.pcap, rules.txt",
        ]
    )
    output = result.stdout.str()
    assert "KUBE-" not in output
    assert "pytest_plugin" not in output, "no frame of nslab's"
    assert not re.search("(neighbor|router) solicitation|multicast listener report|kube-probe", output)
    assert len(result.outlines) < 60
    (rules,) = user.path.glob("nslab-h13-*/rules.txt")
    for node in ("node1", "node2"):
        assert f"# {node}: rules of iptables-save" in rules.read_text()
    assert "-A KUBE-SERVICES -d 10.96.1.1/32 -p tcp" in rules.read_text()
    assert "no route to 20.111.156.0/26" in rules.with_name("diff.txt").read_text()


def test_the_rules_that_differ_and_no_others_are_in_the_report(user: pytest.Pytester) -> None:
    text = """
@here
def test_flushed(lab):
    lab.sh("node1", "iptables -t nat -F KUBE-SERVICES; iptables -t nat -A KUBE-MARK-MASQ -j RETURN")
    lab.wait(lambda: lab.client("client"), timeout=0)
"""
    result = run(user, text)
    result.assert_outcomes(failed=1)
    output = result.stdout.str()
    shown = [line for line in result.outlines if line.startswith("node1: ")]
    assert {line.partition(" -A ")[2].split()[0] for line in shown} == {"KUBE-SERVICES", "KUBE-MARK-MASQ"}
    assert any(line.startswith("node1: - iptables -t nat -A KUBE-SERVICES -d 10.96.1.1/32 ") for line in shown)
    assert "node1: + iptables -t nat -A KUBE-MARK-MASQ -j RETURN" in shown
    assert "KUBE-POSTROUTING" not in output
    assert len(result.outlines) < 70


def test_the_lab_of_a_failed_test_can_be_kept(user: pytest.Pytester) -> None:
    result = run(user, f"{BROKEN}\n@here\ndef test_right(lab):\n    print('RIGHT', lab.name)\n", "--nslab-keep", "-rP")
    result.assert_outcomes(failed=1, passed=1)
    kept, right = names_in(result.stdout.str())
    try:
        result.stdout.fnmatch_lines(
            ["*= nslab: labs that are kept =*", kept, f"*nslab shell {kept}/node1", f"*nslab down {kept}"]
        )
        assert "no route to 20.111.156.0/26" in nslab("diff", kept).stdout
        assert left(right) == []
    finally:
        nslab("down", kept)
    assert left(kept) == []


def test_a_failed_test_s_packets(user: pytest.Pytester) -> None:
    """Of all tests that share a lab the failed one's own, in files that Wireshark reads and as tcpdump reads them."""
    before = "def test_before(lab):\n    assert lab.pod('shell').connect(lab.pod('web'), 8081, udp=True)\n"
    mark = "pytestmark = pytest.mark.lab('lab.yaml', scope='module')\n"
    result = run(user, f"{mark}{before}{BROKEN.replace('@here', '')}")
    result.assert_outcomes(failed=1, passed=1)
    # The echo request leaves node2 by its default route, and finds nobody.
    result.stdout.fnmatch_lines(
        [
            "*- packets on node2: *",
            "*:*:* cali* In  IP 20.109.131.* > 20.111.156.*: ICMP echo request*",
            "*:*:* eth0  Out IP 20.109.131.* > 20.111.156.*: ICMP echo request*",
        ]
    )
    output = result.stdout.str()
    assert "ICMP echo reply" not in output
    (file,) = user.path.glob("nslab-h13-*/node2.pcap")
    assert f"\n{file.parent}: " in output
    seen = subprocess.run(["tcpdump", "-nr", file, "icmp"], capture_output=True, text=True, check=True)
    assert seen.stdout.count("ICMP echo request") >= 2
    others = subprocess.run(["tcpdump", "-nr", file, "port", "8081"], capture_output=True, text=True, check=True)
    assert others.stdout == "", "those of the test before it"


def test_what_outlives_a_lab_fails_its_test(user: pytest.Pytester) -> None:
    text = """
import subprocess

@here
def test_leaky(lab, tmp_path):
    (tmp_path / "ns").touch()
    subprocess.run(["mount", "--bind", f"/run/netns/{lab.node('node1').netns}", tmp_path / "ns"], check=True)
"""
    user.makepyfile(f"import pytest\nhere = pytest.mark.lab('lab.yaml')\n{text}")
    # What it mounts goes with a mount namespace of its own.
    result = user.run("unshare", "--mount", *COMMAND)
    result.assert_outcomes(passed=1, errors=1)
    (name,) = names_in(result.stdout.str())
    result.stdout.fnmatch_lines([f"nslab: left of lab {name}: namespace nslab.{name}.node1 is mounted at */ns"])


def test_what_a_test_makes_in_a_lab_ends_with_it(user: pytest.Pytester) -> None:
    """Links, addresses, processes, and the end of a veth that is outside, as nslab/docs/pytest.md says."""
    text = """
import subprocess, time
from pathlib import Path

made = {}

@here
def test_maker(lab):
    lab.sh("node1", "ip link add br9 type bridge; ip addr add 10.9.9.9/24 dev br9; ip addr add 10.9.9.8/32 dev eth0")
    lab.node("node1").run("sh", "-c", "sleep 1000 >&- 2>&- & echo $! >/tmp/mine")
    made["pid"] = int(lab.sh("node1", "sleep 1000 >/dev/null 2>&1 & echo $!"))
    netns = lab.node("node1").netns
    subprocess.run(["ip", "link", "add", "outside", "type", "veth", "peer", "name", "v9", "netns", netns], check=True)
    assert lab.pod("shell").http("10.96.1.1/hostname").text == "web"
    assert "outside" in subprocess.getoutput("ip -br link")

def test_later():
    deadline = time.monotonic() + 20
    while Path(f"/proc/{made['pid']}").exists():  # until whoever inherited it collects it
        assert time.monotonic() < deadline
    while "outside" in subprocess.getoutput("ip -br link"):  # the kernel takes a namespace's links away a little later
        assert time.monotonic() < deadline
"""
    user.makepyfile(f"import pytest\nhere = pytest.mark.lab('lab.yaml')\n{text}")
    result = user.run("unshare", "--net", *COMMAND, "-rP")
    result.assert_outcomes(passed=2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_ends_pytest_ends_its_labs(user: pytest.Pytester, number: signal.Signals) -> None:
    text = "    print('MINE', lab.name, flush=True)\n    lab.wait(lambda: False, timeout=60)\n"
    user.makepyfile(f"def test_long(lab):\n{text}")
    with subprocess.Popen([*COMMAND, "-s"], cwd=user.path, text=True, stdout=subprocess.PIPE) as pytest_run:
        assert pytest_run.stdout
        (name,) = next(found for line in pytest_run.stdout if (found := names_in(line)))
        assert left(name) != []
        pytest_run.send_signal(number)
        assert pytest_run.wait(20) == (2 if number is signal.SIGINT else 143)
        pytest_run.stdout.read()
    assert left(name) == []


def test_what_a_killed_run_left_the_next_one_takes_away(user: pytest.Pytester) -> None:
    text = "    print('MINE', lab.name, flush=True)\n    lab.wait(lambda: False, timeout=60)\n"
    user.makepyfile(test_long=f"def test_long(lab):\n{text}", test_short="def test_short(lab):\n    pass\n")
    argv = [*COMMAND, "-s", "test_long.py"]
    with subprocess.Popen(argv, cwd=user.path, text=True, stdout=subprocess.PIPE) as killed:
        assert killed.stdout
        (name,) = next(found for line in killed.stdout if (found := names_in(line)))
        user.runpytest_subprocess(*COMMAND[3:], "test_short.py").assert_outcomes(passed=1)
        assert left(name) != [], "its pytest lives"
        killed.kill()
        killed.stdout.read()
    assert left(name) != []
    user.runpytest_subprocess(*COMMAND[3:], "test_short.py").assert_outcomes(passed=1)
    assert left(name) == []


def test_runs_side_by_side(user: pytest.Pytester) -> None:
    """As pytest-xdist's workers are: each in a process of its own, each with the same test of the same lab."""
    text = "    assert lab.pod('shell').http('10.96.1.1/hostname').text == 'web'\n    assert lab.diff() == []\n"
    user.makepyfile(f"import pytest\n\n@pytest.mark.parametrize('n', range(2))\ndef test_a(lab, n):\n{text}")
    argv = [*COMMAND, "-q"]
    runs = [subprocess.Popen(argv, cwd=user.path, text=True, stdout=subprocess.PIPE) for _ in range(2)]
    output = [one.communicate(timeout=60)[0] for one in runs]
    assert [one.returncode for one in runs] == [0, 0], output


def test_workers_of_xdist(user: pytest.Pytester) -> None:
    """A module's lab is up once in each worker that has tests of it; names never meet; what is kept is told."""
    text = f"""{BROKEN}
pytestmark = pytest.mark.lab("lab.yaml", scope="module")

@pytest.mark.parametrize("n", range(4))
def test_right(lab, n, worker_id):
    print("MINE", worker_id, lab.name)
    assert lab.pod("shell").http("10.96.1.1/hostname").text == "web"
    assert lab.diff() == []
"""
    result = run(user, text, "-n", "2", "--dist", "each", "--nslab-keep", "-rP")
    output = result.stdout.str()
    try:
        result.assert_outcomes(failed=2, passed=8)
        mine = set(re.findall(rf"MINE (gw\d) ({NAME.pattern})", output))
        assert sorted(worker for worker, _ in mine) == ["gw0", "gw1"]
        kept = set(names_in(output)) - {name for _, name in mine}
        assert len(kept) == len({name for _, name in mine}) == 2
        for name in kept:
            result.stdout.fnmatch_lines(["*= nslab: labs that are kept =*", name, f"*nslab down {name}"])
        assert [line for _, name in mine for line in left(name)] == []
    finally:
        for name in names_in(output):
            nslab("down", name)


@pytest.mark.skipif(driver("ip_vs") and driver("dummy"), reason="this kernel has ip_vs")
def test_what_the_kernel_lacks_skips_with_doctor_s_sentence(user: pytest.Pytester) -> None:
    text = '@pytest.mark.lab("lab.yaml", proxy_mode="ipvs")\ndef test_a(lab):\n    pass\n'
    result = run(user, text, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED *proxy mode ipvs needs the drivers ip_vs and dummy*nslab vm*"])
    required = run(user, text, "--nslab-require")
    required.assert_outcomes(errors=1)
    required.stdout.fnmatch_lines(["--nslab-require: proxy mode ipvs needs the drivers ip_vs and dummy*"])


def test_a_lab_without_its_pods_process_still_reports(user: pytest.Pytester) -> None:
    """The test took the lab down itself: its failure is told all the same, and nothing is left."""
    text = """
from nslab.app.down import down

@here
def test_gone(lab):
    down(lab.name)
    assert not "there"
"""
    result = run(user, text)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*assert not*", "*nslab diff h13-*", "cannot be read: UsageError: there is no running lab*"]
    )


def test_a_folder_s_checks() -> None:
    """`sudo pytest labs/pause-pod`, as `nslab docs pytest` has it. The others are among the suite's own (testpaths)."""
    root = Path(__file__).parents[2]
    done = subprocess.run([*COMMAND, "-q", "labs/pause-pod"], cwd=root, capture_output=True, text=True, timeout=120)
    assert re.search(r"^4 passed in", done.stdout, re.MULTILINE), done.stdout + done.stderr
