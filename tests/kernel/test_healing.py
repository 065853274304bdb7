"""What was broken by hand is named by `diff` and mended by `up`; what nobody broke runs on."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from nslab.app.drift import drift_of
from nslab.linux.processes.status import read_status
from nslab.objects.names import cali, netns
from nslab.syscall import umount
from tests.kernel.labkit import RUN, kill, nslab, pids

if TYPE_CHECKING:
    from nslab.pytest_plugin.running import RunningLab

pytestmark = [pytest.mark.root, pytest.mark.lab("calico-two-node", scope="module")]

B = cali("default", "pod-b")


def healed(lab: RunningLab) -> None:
    lab.mend()
    assert drift_of(lab.name).plan == ()
    assert lab.pod("pod-b").http("20.109.131.3:8080/hostname").text == "pod-d"
    assert lab.pod("pod-d").http("20.111.156.7:8080/hostname").text == "pod-b"
    assert lab.pod("pod-c").http("10.103.9.116:8080/hostname").text == "pod-b", "a Service"
    assert lab.client().http("192.168.59.23:31080/hostname").text == "pod-b", "its node port"


NETWORK = {
    "block route": (
        ("node1", "ip route del 20.109.131.0/26"),
        "node1 has no route to 20.109.131.0/26 (BIRD's): the way to the pods of node2",
    ),
    "all routes": (
        ("node1", "ip route flush table main"),
        "node1 has no connected route to 192.168.59.0/24 through eth0",
    ),
    "all routes of a node's own addresses": (
        ("node2", "ip route flush table local"),
        "node2 has no local route to 192.168.59.23/32 through eth0",
    ),
    "pod route": (
        ("node1", "ip route del 20.111.156.7"),
        "node1 has no route to 20.111.156.7/32 (Felix's): the way to pod pod-b",
    ),
    "next hop": (
        ("node1", "ip route replace 20.109.131.0/26 via 192.168.59.10 dev eth0 proto bird"),
        (
            "node1's route to 20.109.131.0/26 leads via 192.168.59.10 through eth0 instead of via 192.168.59.23 "
            "through tunl0 (BIRD's): the way to the pods of node2"
        ),
    ),
    "forwarding": (
        ("node1", "sysctl -qw net.ipv4.ip_forward=0"),
        "node1 has net.ipv4.ip_forward = 0 instead of 1 (Felix's)",
    ),
    "proxy ARP": (
        ("node1", f"sysctl -qw net.ipv4.conf.{B}.proxy_arp=0"),
        f"node1 has net.ipv4.conf.{B}.proxy_arp = 0 instead of 1 (the Calico CNI plugin's): the way to pod pod-b",
    ),
    "node end down": (("node1", f"ip link set {B} down"), f"node1's {B} is down"),
    "pod end down": (("pod-b", "ip link set eth0 down"), "pod-b's eth0 is down"),
    "cable": (
        ("node1", f"ip link del {B}"),
        f"node1 has no cable {B} to pod-b's eth0 (the Calico CNI plugin's)",
    ),
    "cable, from the pod": (
        ("pod-b", "ip link del eth0"),
        f"node1 has no cable {B} to pod-b's eth0 (the Calico CNI plugin's)",
    ),
    "tunnel": (("node1", "ip link del tunl0"), "node1 has no tunnel tunl0 (Felix's)"),
    "neighbour": (
        ("node1", f"ip neigh del 20.111.156.7 dev {B}"),
        f"node1 has no permanent ARP entry for 20.111.156.7 on {B} (Felix's): the way to pod pod-b",
    ),
    "built-in chain": (
        ("node1", "iptables -t nat -F POSTROUTING"),
        (
            'node1 has no rule in POSTROUTING (table nat): -m comment --comment "cali:0i8pjzKKPyA34aQD" '
            "-j cali-POSTROUTING (Felix's)"
        ),
    ),
    "chain": (
        ("node1", "iptables -t nat -F cali-nat-outgoing"),
        (
            'node1\'s chain cali-nat-outgoing (table nat) lacks the rule -m comment --comment "cali:flqWnvo8yq4ULQLa" '
            "-m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst "
            "-j MASQUERADE --random-fully (Felix's)"
        ),
    ),
    "all chains": (
        ("node1", "iptables -t nat -F; iptables -t nat -X"),
        "node1 has no chain cali-nat-outgoing (table nat) (Felix's)",
    ),
    "a Service's chain": (
        ("node1", "iptables -t nat -F KUBE-NODEPORTS"),
        (
            'node1\'s chain KUBE-NODEPORTS (table nat) lacks the rule -p tcp -m comment --comment "default/svc-b" '
            "-m tcp --dport 31080 -j KUBE-EXT-5SXAMWEMC7JSPKWY (kube-proxy's)"
        ),
    ),
    "the way to the Services": (
        ("node1", "iptables -t nat -D PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES"),
        (
            'node1 has no rule in PREROUTING (table nat): -m comment --comment "kubernetes service portals" '
            "-j KUBE-SERVICES (kube-proxy's)"
        ),
    ),
    "all chains, filter": (
        ("node2", "iptables -F; iptables -X"),
        "node2 has no chain KUBE-EXTERNAL-SERVICES (table filter) (kube-proxy's)",
    ),
    "member gone": (
        ("node1", "ipset del cali40all-hosts-net 192.168.59.23"),
        "node1 has no member 192.168.59.23 in ipset cali40all-hosts-net (Felix's)",
    ),
    "member more": (
        ("node1", "ipset add cali40all-ipam-pools 10.0.0.0/8"),
        "node1 has a member 10.0.0.0/8 in ipset cali40all-ipam-pools that is not the lab's",
    ),
    "sets": (
        (
            "node1",
            "for table in filter nat mangle raw; do iptables -t $table -F; iptables -t $table -X; done; ipset destroy",
        ),
        "node1 has no ipset cali40all-ipam-pools (Felix's)",
    ),
    "MTU": (
        ("node1", f"ip link set {B} mtu 1400"),
        f"node1's cable {B} to pod-b's eth0 has MTU 1400 instead of 1480 (the Calico CNI plugin's)",
    ),
    "MTU in the pod": (
        ("pod-b", "ip link set eth0 mtu 1400"),
        f"node1's cable {B} to pod-b's eth0 has MTU 1400 instead of 1480 (the Calico CNI plugin's)",
    ),
    "address": (
        ("pod-b", "ip addr del 20.111.156.7/32 dev eth0"),
        "pod-b has no address 20.111.156.7/32 on eth0 (the Calico CNI plugin's)",
    ),
    "route more": (
        ("node1", f"ip route add 203.0.113.0/24 dev {B}"),
        f"node1 has a route to 203.0.113.0/24 through {B} that is not the lab's",
    ),
    "plug": (("switch", "ip link set node1 nomaster"), "switch has no plug of node1 in bridge br0"),
    "bridge": (("switch", "ip link del br0"), "switch has no bridge br0"),
    "uplink": (("node2", "ip link del eth0"), "switch has no cable node2 to node2's eth0"),
}


@pytest.mark.parametrize("what", NETWORK)
def test_network_is_mended(lab: RunningLab, what: str) -> None:
    (host, command), sentence = NETWORK[what]
    before = lab.processes()
    lab.sh(host, command)
    assert sentence in lab.diff()
    healed(lab)
    # The tunnel's process ends with its device.
    changed = {whose for whose, pid in lab.processes().items() if before[whose] != pid}
    assert changed == ({"node1 tunnel"} if what == "tunnel" else set())


@pytest.mark.parametrize(("host", "end"), [("node1", B), ("pod-b", "eth0")])
def test_a_changed_mac_is_mended(lab: RunningLab, host: str, end: str) -> None:
    before = lab.sh(host, f"cat /sys/class/net/{end}/address")
    lab.sh(host, f"ip link set {end} address 02:00:00:00:00:99")
    assert f"{host}'s {end} has MAC address 02:00:00:00:00:99 instead of {before.strip()}" in "\n".join(lab.diff())
    healed(lab)
    assert lab.sh(host, f"cat /sys/class/net/{end}/address") == before


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        ("ip link del vxlan.calico", "node1 has no tunnel vxlan.calico (Felix's)"),
        (
            "ip neigh flush dev vxlan.calico nud permanent",
            "node1 has no permanent ARP entry for 20.109.131.0 on vxlan.calico (Felix's)",
        ),
        (
            "bridge fdb del 66:2d:bf:44:a6:8b dev vxlan.calico dst 192.168.59.23",
            (
                "node1 has no FDB entry of vxlan.calico for 66:2d:bf:44:a6:8b (behind 192.168.59.23) (Felix's): "
                "the way to node2"
            ),
        ),
        ("ip link set vxlan.calico address 66:00:00:00:00:01", "vxlan.calico"),
    ],
    ids=["device", "neighbour", "forwarding entry", "MAC"],
)
@pytest.mark.lab("calico-two-node", encapsulation="VXLAN", scope="module")
def test_vxlan_is_mended(lab: RunningLab, command: str, sentence: str) -> None:
    lab.sh("node1", command)
    assert any(sentence in line for line in lab.diff())
    healed(lab)


ALL_OF_POD_B = {"pod-b pause", "pod-b container/app"}
ALL_OF_DNS = {f"kube-system_kube-dns {role}" for role in ("pause", "container/kubedns", "container/dnsmasq")}
ALL_OF_NODE_1 = {
    *(f"node1 {role}" for role in ("node", "tunnel", "kube-proxy", "felix")), "pod-a pause", "pod-a container/app",
    *ALL_OF_POD_B, *ALL_OF_DNS,
}  # fmt: skip
KILLED = {
    "node and container": (
        ["node1 node", "pod-b container/app"],
        {"node1 node", "pod-b container/app"},
        "pod-b has no running container app",
    ),
    "pause": (["pod-b pause"], ALL_OF_POD_B, "pod-b has no pause process (kubelet's)"),
    "node": (["node1 node"], {"node1 node"}, "node1 has no nslab-node process"),
    "tunnel": (["node1 tunnel"], {"node1 tunnel"}, "node1 has no process behind tunl0 (Felix's)"),
    "client": (["client node"], {"client node"}, "client has no nslab-node process"),
    "kube-proxy": (["node1 kube-proxy"], {"node1 kube-proxy"}, "node1 has no kube-proxy"),
    "felix": (["node1 felix"], {"node1 felix"}, "node1 has no felix process"),
    "control": (["control control"], {"control control"}, "control has no"),
    "node and pause": (["node1 node", "pod-b pause"], {"node1 node", *ALL_OF_POD_B}, "pod-b has no pause process"),
}


def test_a_container_is_mended_by_its_node_alone(lab: RunningLab) -> None:
    def restarts() -> int:
        return int(read_status(lab.name)["default/pod-b"]["containers"]["app"]["restarts"])

    before, count = lab.processes(), restarts()
    os.kill(before["pod-b container/app"], signal.SIGKILL)
    lab.wait(lambda: lab.processes().keys() == before.keys() and lab.processes() != before)
    assert lab.wait(lambda: lab.node("node1").http("20.111.156.7:8080/hostname").text) == "pod-b"
    # It answers before its node has reported that it was gone, and kube-proxies have left it out for a moment.
    lab.wait(lambda: restarts() > count and lab.settled())
    assert lab.diff() == []


def test_a_container_that_waits_is_mended_when_its_node_is_killed(lab: RunningLab) -> None:
    def state() -> str:
        pod = read_status(lab.name)["default/pod-b"]
        return str(pod["containers"]["app"]["state"])

    def waits() -> bool:
        if pid := lab.processes().get("pod-b container/app"):
            with contextlib.suppress(ProcessLookupError):  # it ended a moment ago
                os.kill(pid, signal.SIGKILL)
        return state() == "waiting"

    lab.wait(waits)
    assert lab.diff() == [], "its node sees to it"
    os.kill(lab.processes()["node1 node"], signal.SIGKILL)
    lab.wait(lambda: "node1 node" not in lab.processes())
    assert state() == "waiting"
    assert "pod-b has no running container app" in " ".join(lab.diff())
    healed(lab)


@pytest.mark.parametrize("what", KILLED)
def test_processes_are_mended(lab: RunningLab, what: str) -> None:
    victims, anew, sentence = KILLED[what]
    before = lab.processes()
    for victim in victims:
        with contextlib.suppress(ProcessLookupError):  # it ended with another one
            os.kill(before[victim], signal.SIGKILL)
    lab.wait(lambda: not lab.processes().items() & {victim: before[victim] for victim in victims}.items())
    assert any(line.startswith(sentence) for line in lab.diff())
    healed(lab)
    after = lab.processes()
    assert before.keys() == after.keys()
    assert {whose for whose in after if before[whose] != after[whose]} == anew


TOLD = ["control", "switch", "node1", "client", "pod-b", "kube-system_kube-dns"]


def test_a_nodes_process_has_last_words(lab: RunningLab) -> None:
    log = RUN / lab.name / "nodes" / "node2" / "nslab-node.log"
    with log.open("a") as file:
        file.write("Traceback (most recent call last):\nMemoryError: no \033[2J memory\n")
    kill(lab.processes()["node2 node"])
    sentence = "node2's nslab-node process ended by an error: MemoryError: no ?[2J memory"
    assert sentence in lab.diff()
    assert nslab("ps", lab.name).stderr == f"{sentence}; `nslab up {lab.name}` starts it again\n"
    assert sentence in nslab("up", str(RUN / lab.name / "lab.yaml")).stdout
    assert log.read_text() == ""
    healed(lab)


GONE = {
    "pod": (["pod-b"], ALL_OF_POD_B),
    "client": (["client"], {"client node"}),
    "kube-dns": (["kube-system_kube-dns"], ALL_OF_DNS),
    "control": (["control"], {"control control"}),
    "node": (["node1"], ALL_OF_NODE_1),
    "switch": (["switch"], set()),
    "many": (["node1", "pod-b", "switch"], ALL_OF_NODE_1),
}


@pytest.mark.parametrize("what", GONE)
def test_deleted_namespaces_are_mended(lab: RunningLab, what: str) -> None:
    hosts, anew = GONE[what]
    before = lab.processes()
    for host in hosts:
        subprocess.run(["ip", "netns", "del", netns(lab.name, host)], check=True)
    output = lab.diff()
    assert [line for line in output if line.startswith("there is no")] == [
        f"there is no {host}" for host in sorted(hosts, key=TOLD.index)
    ]
    healed(lab)
    after = lab.processes()
    assert before.keys() == after.keys()
    assert {whose for whose in after if before[whose] != after[whose]} == anew


def test_a_namespace_unmounted_or_replaced_by_hand(lab: RunningLab) -> None:
    umount(str(RUN / lab.name / "ns" / netns(lab.name, "pod-b")))
    assert "there is no pod-b" in lab.diff()
    healed(lab)
    subprocess.run(["ip", "netns", "del", netns(lab.name, "pod-b")], check=True)
    subprocess.run(["ip", "netns", "add", netns(lab.name, "pod-b")], check=True)
    assert "there is no pod-b" in lab.diff()
    healed(lab)


def test_strangers_are_shown_and_left_alone(lab: RunningLab) -> None:
    rules = ["-t nat -I POSTROUTING -s 1.2.3.4 -j RETURN", "-A FORWARD -s 5.6.7.8 -j DROP"]
    for rule in rules:
        lab.sh("node1", f"iptables {rule}")
    lab.sh("node1", "ip link add stranger type veth peer name strange")
    lab.sh("node1", "ip route add 198.51.100.0/24 via 192.168.59.1 table 7")
    done = nslab("diff", lab.name)
    assert (done.returncode, done.stderr) == (0, "")
    for shown in ("-s 1.2.3.4/32 -j RETURN", "-s 5.6.7.8/32 -j DROP", "interface stranger", "interface strange"):
        assert shown in done.stdout
    lab.sh("node1", f"ip link set {B} down")
    healed(lab)
    for rule in rules:
        lab.sh("node1", f"iptables {rule.replace('-I', '-C').replace('-A', '-C')}")
    assert "stranger" in lab.sh("node1", "ip -br link")
    assert "198.51.100.0/24" in lab.sh("node1", "ip route show table 7")
    for rule in rules:
        lab.sh("node1", f"iptables {rule.replace('-I', '-D').replace('-A', '-D')}")
    lab.sh("node1", "ip link del stranger")


def test_a_name_taken_by_something_else(lab: RunningLab) -> None:
    lab.sh("node1", f"ip link del {B}; ip link add {B} type bridge; ip link set {B} up")
    assert any(B in line for line in lab.diff())
    healed(lab)


def test_everything_at_once(lab: RunningLab) -> None:
    for host, command in (broken for broken, _ in NETWORK.values()):
        subprocess.run(["ip", "netns", "exec", netns(lab.name, host), "sh", "-c", command], capture_output=True)
    for pid in lab.processes().values():
        with contextlib.suppress(ProcessLookupError):  # it ended with another one
            os.kill(pid, signal.SIGKILL)
    assert lab.diff() != []
    healed(lab)


def test_the_commands_say_the_same(lab: RunningLab) -> None:
    """`nslab diff`, its status, and who runs, found in the plainest way."""
    assert pids(lab.name) == lab.processes()
    for broken in (True, False):
        if broken:
            lab.sh("node1", f"ip link set {B} down")
        else:
            healed(lab)
        done = nslab("diff", lab.name, "-o", "json")
        assert json.loads(done.stdout)["differences"] == lab.diff()
        assert (done.returncode, lab.diff() != []) == (1 if broken else 0, broken)
