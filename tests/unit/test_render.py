"""`nslab render`: manifests in, text out; what its flags refuse."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import prefork

ROOT = Path(__file__).parents[2]
NODE = ("--node", "node1")
SERVICE = """
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, clusterIP: 10.96.0.9, ports: [{port: 80, nodePort: 31080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [20.111.156.7], nodeName: node1}]
ports: [{port: 8080}]
"""


def render(*arguments: str, text: str = SERVICE) -> subprocess.CompletedProcess[str]:
    argv = [*prefork.nslab(), "render", "-f", "-", *NODE, *arguments]
    return subprocess.run(argv, input=text, capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--node-ip", "bogus"), "--node-ip: 'bogus' is not an IPv4 address, such as 192.168.59.22"),
        (("--node-ip", "::1"), "--node-ip: '::1' is not an IPv4 address, such as 192.168.59.22"),
        (("--node-ip", ""), "--node-ip: '' is not an IPv4 address, such as 192.168.59.22"),
        (
            ("--cluster-cidr", "20.300.0.0/99"),
            "--cluster-cidr: '20.300.0.0/99' is not an IPv4 network, such as 20.96.0.0/12",
        ),
        (("--service-cidr", "x"), "--service-cidr: 'x' is not an IPv4 network, such as 20.96.0.0/12"),
        (("--scheduler", "zz"), "--scheduler is one of rr, wrr, lc, sh, mh, not 'zz'"),
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(flags: tuple[str, ...], says: str) -> None:
    done = render("--proxy-mode", "ipvs", *flags)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"nslab: {says}\n")


def test_a_network_is_written_as_the_kernel_keeps_it() -> None:
    done = render("--proxy-mode", "iptables", "--cluster-cidr", "20.111.156.7/12", "--node-ip", "192.168.59.22")
    assert done.returncode == 0
    assert "! -s 20.96.0.0/12 -d 10.96.0.9/32" in done.stdout


def test_masquerade_all_marks_whoever_asks() -> None:
    done = render("--proxy-mode", "iptables", "--cluster-cidr", "20.96.0.0/12", "--masquerade-all")
    (rule,) = [line for line in done.stdout.splitlines() if "cluster IP" in line and "KUBE-MARK-MASQ" in line]
    assert rule.startswith("-A KUBE-SVC-")
    assert " -s " not in rule


LAB = """
apiVersion: nslab/v1
kind: Lab
metadata: {name: zoned}
spec:
  nodes:
  - {name: node1, labels: {topology.kubernetes.io/zone: a}}
  - {name: node2, labels: {topology.kubernetes.io/zone: b}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 4
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: app, image: agnhost, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, trafficDistribution: PreferSameZone, selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""


def ends(text: str) -> set[str]:
    return set(re.findall(r"--to-destination (\S+)", text))


def test_a_labs_file_is_completed_as_plan_does() -> None:
    done = render("--proxy-mode", "iptables", text=LAB)
    assert (done.returncode, done.stderr) == (0, "")
    assert "! -s 20.96.0.0/12 -d 10." in done.stdout
    assert ends(done.stdout) == {"20.96.0.1:8080", "20.96.0.2:8080"}, "those of node1's zone"


def test_a_zone_may_be_said_and_replaces_the_labs() -> None:
    done = render("--proxy-mode", "iptables", "--zone", "b", text=LAB)
    assert ends(done.stdout) == {"20.96.0.65:8080", "20.96.0.66:8080"}
    assert len(ends(render("--proxy-mode", "iptables", "--zone", "", text=LAB).stdout)) == 4
    everywhere = LAB.replace("trafficDistribution: PreferSameZone, ", "")
    assert len(ends(render("--proxy-mode", "iptables", text=everywhere).stdout)) == 4
    same_node = LAB.replace("PreferSameZone", "PreferSameNode").replace("zone: b", "zone: a")
    assert ends(render("--proxy-mode", "iptables", text=same_node).stdout) == {"20.96.0.1:8080", "20.96.0.2:8080"}


def test_what_a_bare_manifest_leaves_open_is_given_out() -> None:
    bare = SERVICE.replace("clusterIP: 10.96.0.9, ", "").replace(", nodePort: 31080", "")
    done = render("--proxy-mode", "iptables", "--service-cidr", "172.30.0.0/16", text=bare)
    assert "-d 172.30.0.2/32" in done.stdout
    assert "--dport 30000 -j KUBE-EXT-" in done.stdout
    assert "-d 10.96.0.2/32" in render("--proxy-mode", "iptables", text=bare).stdout


RANGES = SERVICE.replace("NodePort", "LoadBalancer").replace(
    "spec: {", "spec: {loadBalancerSourceRanges: [10.0.0.0/8], "
)
RANGES = RANGES.replace("\n---", "\nstatus: {loadBalancer: {ingress: [{ip: 203.0.113.7}]}}\n---")


@pytest.mark.parametrize(
    ("mode", "text", "says"),
    [
        ("iptables", RANGES, "whether the node is in the source ranges of default/web depends on its address"),
        ("nftables", RANGES, "nftables mode writes node ports (default/web has one) for the node's own addresses"),
        ("nftables", SERVICE, "nftables mode writes node ports (default/web has one) for the node's own addresses"),
        ("ipvs", SERVICE, "ipvs mode writes node ports (default/web has one) for the node's own addresses"),
        ("userspace", SERVICE, "userspace mode redirects to a port of the node"),
        ("iptables", SERVICE, ""),
        ("nftables", SERVICE.replace("type: NodePort, ", "").replace(", nodePort: 31080", ""), ""),
        ("none", RANGES, ""),
    ],
)
def test_the_nodes_address_is_asked_for_where_it_matters(mode: str, text: str, says: str) -> None:
    done = render("--proxy-mode", mode, text=text)
    wanted = f"nslab: {says}: give the node's address (--node-ip)\n" if says else ""
    assert (done.returncode, done.stderr) == (2 if says else 0, wanted)
    assert render("--proxy-mode", mode, "--node-ip", "192.168.59.22", text=text).returncode == 0


def test_pods_and_what_makes_them_are_no_concern_of_render() -> None:
    """Whatever `kubectl get -o yaml` prints: owners that are not here, pods that ended, two of one uid."""
    pod = """\
---
apiVersion: v1
kind: Pod
metadata:
  {name: %s, uid: u, labels: {app: web}, ownerReferences: [{apiVersion: apps/v1, kind: ReplicaSet, name: r, uid: x}]}
spec: {nodeName: node1, containers: [{name: c, image: example.org/web:1, ports: [{containerPort: 8080}]}]}
status: {podIP: %s, phase: %s}
"""
    pods = [("a", "20.96.0.2", "Running"), ("b", "20.96.0.3", "Succeeded"), ("c", "20.96.0.4", "Failed")]
    text = SERVICE.partition("---")[0].replace(
        "spec: {", "spec: {publishNotReadyAddresses: true, selector: {app: web}, "
    )
    text = text.replace("port: 80,", "port: 80, targetPort: 8080,")
    done = render("--proxy-mode", "iptables", text=text + "".join(pod % one for one in pods))
    assert (done.stderr, ends(done.stdout)) == ("", {"20.96.0.2:8080"})


def test_a_folder_is_all_its_manifests(tmp_path: Path) -> None:
    service, ends = SERVICE.split("---\n")
    (tmp_path / "service.yaml").write_text(service)
    (tmp_path / "ends.yml").write_text(ends)
    flags = ("--node-ip", "192.168.59.22", "--proxy-mode", "iptables")
    argv = [*prefork.nslab(), "render", "-f", str(tmp_path), *NODE, *flags]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == render(*flags).stdout


POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}], ports: [{port: http}]}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec: {nodeName: node1, containers: [{name: c, image: agnhost, ports: [{containerPort: 8080, name: http}]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: caller, labels: {app: client}}
spec: {nodeName: node2, containers: [{name: c, image: agnhost}]}
"""
OF_PLUGIN = """
apiVersion: nslab/v1
kind: Lab
metadata: {name: lab}
spec: {cni: {plugin: PLUGIN}, nodes: [{name: node1}, {name: node2}]}
---"""


def test_policy_prints_what_felix_writes_on_the_node() -> None:
    done = render("--policy", text=POLICY)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "# ipset restore"
    assert "# iptables-restore --noflush" in lines
    chain = "cali-pi-_u7u2r6vXacg_5gxJvpo"  # default/web's
    (rule,) = [line for line in lines if line.startswith(f"-A {chain} ")]
    named = next(line for line in lines if line.startswith("add cali40n:")).split()
    assert named[2] == "20.96.0.1,tcp:8080"
    assert f" -m set --match-set {named[1]} dst,dst " in rule
    (peer,) = [line.split() for line in lines if line.startswith("add cali40s:")]
    assert peer[2] == "20.96.0.65"
    assert f" -m set --match-set {peer[1]} src " in rule
    other = subprocess.run(
        [sys.executable, "-m", "nslab", "render", "-f", "-", "--node", "node2", "--policy"],
        input=POLICY, capture_output=True, text=True, cwd=ROOT, check=True,
    )  # fmt: skip
    assert chain not in other.stdout, "no pod there is selected"


def test_the_dataplane_decides_where_policies_stand() -> None:
    done = render("--policy", "--dataplane", "nftables", text=OF_PLUGIN.replace("PLUGIN", "calico") + POLICY)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["# nft -f -", "add table ip calico"]
    assert "add chain ip calico filter-cali-pi-default/default/knp.default.web" in lines
    of_file = render("--policy", text=OF_PLUGIN.replace("PLUGIN", "calico, dataplane: nftables") + POLICY)
    assert of_file.stdout == done.stdout


def test_the_release_of_calico_decides_on_names() -> None:
    done = render("--policy", "--calico-version", "3.32", text=POLICY)
    assert ":cali-pi-knp/default/web - [0:0]" in done.stdout
    assert "create cali40network-ip-pools hash:net " in done.stdout
    spec = "spec: {cni: {calicoVersion: 3.32}, nodes: [{name: node1}]}"
    own = f"apiVersion: nslab/v1\nkind: Lab\nmetadata: {{name: x}}\n{spec}\n"
    assert "create cali40network-ip-pools hash:net " in render("--policy", text=own).stdout


@pytest.mark.parametrize(
    ("flags", "text", "says"),
    [
        ((), POLICY, "--proxy-mode is missing: iptables, ipvs, nftables, userspace or none; or give --policy"),
        (
            ("--policy", "--calico-version", "2"),
            POLICY,
            "--calico-version is one of 3.28, 3.30, 3.32, not '2'",
        ),
        (("--policy", "--dataplane", "bpf"), POLICY, "--dataplane is one of iptables, nftables, not 'bpf'"),
        (("--policy", "--node", "node9"), POLICY, "- has no node 'node9'; there are node1, node2"),
        (
            ("--policy",),
            OF_PLUGIN.replace("PLUGIN", "kubenet") + POLICY,
            "-: kubenet has no Felix, which is a part of calico",
        ),
    ],
)
def test_what_policy_refuses(flags: tuple[str, ...], text: str, says: str) -> None:
    done = render(*flags, text=text)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"nslab: {says}\n")


def test_objects_may_be_in_several_files(tmp_path: Path) -> None:
    policy, _, pods = POLICY.partition("---\n")
    for name, text in (("policy.yaml", policy), ("pods.yaml", pods)):
        (tmp_path / name).write_text(text)
    argv = [sys.executable, "-m", "nslab", "render", *NODE, "--policy"]
    files = [word for name in ("policy.yaml", "pods.yaml") for word in ("-f", str(tmp_path / name))]
    done = subprocess.run([*argv, *files], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout == render("--policy", text=POLICY).stdout
