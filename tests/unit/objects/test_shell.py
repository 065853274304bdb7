"""Every kind of object as a person would type it, there and back."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from nslab.cni.chain import Program, Wiring
from nslab.cni.config import read
from nslab.objects.attachment import Attachment
from nslab.objects.chain_policy import ChainPolicy
from nslab.objects.container import Sandbox, Security, Workload
from nslab.objects.inet import Address
from nslab.objects.ipset import IpSet, SetMember
from nslab.objects.iptables import Chain, Jump, iptables_restore, settled
from nslab.objects.ipvs import RealServer, VirtualServer
from nslab.objects.kernel_routes import KernelRoute
from nslab.objects.link_settings import LinkSetting
from nslab.objects.links import Bridge, Dummy, Veth
from nslab.objects.namespaces import Netns
from nslab.objects.neighbours import Fdb, Neighbour
from nslab.objects.nft import NftChain, NftElement, NftSet, NftTable
from nslab.objects.other_routes import OtherRoute
from nslab.objects.plan import Add, Remove, Replace, Step
from nslab.objects.ports import BridgePort, LinkUp
from nslab.objects.process import Bird, Control, Felix, KubeProxy, NodeAgent, TunnelAgent
from nslab.objects.routes import Blackhole, Route
from nslab.objects.routing_rules import RoutingRule
from nslab.objects.script import command, commands, script
from nslab.objects.sysctl import Sysctl
from nslab.objects.tunnels import Ipip, Tun, Vxlan
from tests.unit.objects.kinds import kinds

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"
HOST, BLOCK = IPv4Address("192.168.59.23"), IPv4Network("20.109.131.0/26")
CABLE, SWITCH = Veth("n", "cali0", A, "p", "eth0", B, 1480), Bridge("n", "cbr0", A)
TUNNEL = Vxlan("n", "vxlan.calico", A, 4096, 4789, HOST, "eth0", 1450)
WAY, RULES = Route("n", BLOCK, "tunl0", HOST, "bird", onlink=True), Chain("n", "nat", "KUBE-MARK", ("-j ACCEPT",))
PAUSE = Sandbox("p", "n", "default", "pod-b", "1", "pod-b", IPv4Address("20.111.156.7"), False, "")
APP = Workload("p", "n", "app", ("agnhost", "netexec", "--http-port=8080"), (("WHO", "you & me"),), "/", 8080)
BALANCER = VirtualServer("n", "tcp", "10.96.0.10:53", "rr")
SERVER = RealServer("n", "udp", "10.96.0.10:53", "20.111.156.7:5353")
INSIDE = "nsenter --target ${pause[p]} --net --uts --ipc unshare --pid --fork --mount-proc"

LISTED = read('{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "bridge"}, {"type": "tuning"}]}')
FOUND = Program("/opt/bridge"), Program("/opt/tuning")
TOLD = "c0ffee", "/run/netns/p", "eth0", "IgnoreUnknown=1"
CONNECTED = KernelRoute("n", 1, IPv4Network("192.168.59.0/24"), "eth0", IPv4Interface("192.168.59.22/24"))
LOCAL = replace(CONNECTED, kind=2, to=IPv4Network("192.168.59.22/32"))
PLUGGED = Attachment("p", "n", Wiring(LISTED, FOUND, *TOLD, ("/opt", "/usr/lib/cni"), asks=True), HOST)

POLICY = ChainPolicy("n", "filter", "FORWARD", "DROP")
GONE = RoutingRule("n", "pref 32766 from all lookup main", b"", there=False)
QUIET = LinkSetting("n", "v", "bridge port", "learning", 0, 1)
TRANSCRIPT: list[tuple[Step, list[str]]] = [
    (Add(Netns("n")), ["ip netns add n"]),
    (Remove(Netns("n")), ["ip netns del n"]),
    (
        Add(CABLE),
        [f"ip -n n link add cali0 address {A} mtu 1480 type veth peer name eth0 netns p address {B} mtu 1480"],
    ),
    (Remove(CABLE), ["ip -n n link del cali0"]),
    (
        Replace(CABLE, replace(CABLE, mtu=1500, peer_mac=A)),
        ["ip -n n link set cali0 mtu 1500", f"ip -n p link set eth0 address {A} mtu 1500"],
    ),
    (Add(SWITCH), [f"ip -n n link add cbr0 address {A} mtu 1500 type bridge"]),
    (Replace(SWITCH, replace(SWITCH, mac=B)), [f"ip -n n link set cbr0 address {B} mtu 1500"]),
    (
        Add(TUNNEL),
        [
            (f"ip -n n link add vxlan.calico address {A} mtu 1450 "
            f"type vxlan id 4096 local {HOST} dev eth0 dstport 4789 nolearning")
        ],
    ),
    (Add(Ipip("n", "ipip0", 1480)), ["ip -n n link add ipip0 mtu 1480 type ipip"]),
    (Replace(Ipip("n", "tunl0", 1480), Ipip("n", "tunl0", 1430)), ["ip -n n link set tunl0 mtu 1430"]),
    (Add(Tun("n", "tunl0", 1480)), ["ip -n n tuntap add dev tunl0 mode tun", "ip -n n link set tunl0 mtu 1480"]),
    (Remove(Tun("n", "tunl0", 1480)), ["ip -n n tuntap del dev tunl0 mode tun"]),
    (Add(BridgePort("n", "v", "cbr0")), ["ip -n n link set v master cbr0"]),
    (
        Add(BridgePort("n", "v", "cbr0", hairpin=True)),
        ["ip -n n link set v master cbr0", "bridge -n n link set dev v hairpin on"],
    ),
    (Remove(BridgePort("n", "v", "cbr0")), ["ip -n n link set v nomaster"]),
    (Add(LinkUp("n", "eth0")), ["ip -n n link set eth0 up"]),
    (Remove(LinkUp("n", "eth0")), ["ip -n n link set eth0 down"]),
    (Add(Address("n", "eth0", IPv4Interface("20.96.1.2/24"))), ["ip -n n addr add 20.96.1.2/24 dev eth0"]),
    (Remove(Address("n", "eth0", IPv4Interface("20.96.1.2/24"))), ["ip -n n addr del 20.96.1.2/24 dev eth0"]),
    (Add(WAY), ["ip -n n route add 20.109.131.0/26 via 192.168.59.23 dev tunl0 proto bird onlink"]),
    (Remove(WAY), ["ip -n n route del 20.109.131.0/26 via 192.168.59.23 dev tunl0 proto bird onlink"]),
    (
        Replace(WAY, replace(WAY, dev="eth0", protocol="80")),
        ["ip -n n route replace 20.109.131.0/26 via 192.168.59.23 dev eth0 proto 80 onlink"],
    ),
    (Add(Route("p", IPv4Network("169.254.1.1/32"), "eth0")), ["ip -n p route add 169.254.1.1 dev eth0 scope link"]),
    (
        Add(Route("p", IPv4Network("0.0.0.0/0"), "eth0", IPv4Address("169.254.1.1"))),
        ["ip -n p route add default via 169.254.1.1 dev eth0"],
    ),
    (Add(Blackhole("n", BLOCK, "bird")), ["ip -n n route add blackhole 20.109.131.0/26 proto bird"]),
    (
        Add(Neighbour("n", "cali0", HOST, A)),
        [f"ip -n n neigh replace 192.168.59.23 dev cali0 lladdr {A} nud permanent"],
    ),
    (Remove(Neighbour("n", "cali0", HOST, A)), ["ip -n n neigh del 192.168.59.23 dev cali0"]),
    (
        Add(Fdb("n", "vxlan.calico", B, HOST)),
        [f"bridge -n n fdb add {B} dev vxlan.calico dst 192.168.59.23 self permanent"],
    ),
    (
        Replace(Sysctl("n", "net/ipv4/ip_forward", "0", "0"), Sysctl("n", "net/ipv4/ip_forward", "1", "0")),
        ["ip netns exec n sysctl -qw net.ipv4.ip_forward=1"],
    ),
    (
        Add(Sysctl("n", "net/ipv4/conf/vxlan.calico/rp_filter", "0", "1")),
        ["ip netns exec n sysctl -qw net/ipv4/conf/vxlan.calico/rp_filter=0"],
    ),
    (
        Add(IpSet("n", "pools", "hash:net")),
        ["ip netns exec n ipset create pools hash:net family inet hashsize 1024 maxelem 1048576"],
    ),
    (Add(SetMember("n", "pools", "20.96.0.0/12")), ["ip netns exec n ipset add pools 20.96.0.0/12"]),
    (Remove(SetMember("n", "pools", "20.96.0.0/12")), ["ip netns exec n ipset del pools 20.96.0.0/12"]),
    (Remove(IpSet("n", "pools", "hash:net")), ["ip netns exec n ipset destroy pools"]),
    (
        Add(RULES),
        ["ip netns exec n iptables -t nat -N KUBE-MARK", "ip netns exec n iptables -t nat -A KUBE-MARK -j ACCEPT"],
    ),
    (
        Replace(RULES, replace(RULES, rules=("-j DROP",))),
        ["ip netns exec n iptables -t nat -F KUBE-MARK", "ip netns exec n iptables -t nat -A KUBE-MARK -j DROP"],
    ),
    (
        Remove(RULES),
        ["ip netns exec n iptables -t nat -F KUBE-MARK", "ip netns exec n iptables -t nat -X KUBE-MARK"],
    ),
    (Add(Jump("n", "nat", "OUTPUT", "-j KUBE")), ["ip netns exec n iptables -t nat -I OUTPUT 1 -j KUBE"]),
    (Add(Jump("n", "nat", "OUTPUT", "-j KUBE", "last")), ["ip netns exec n iptables -t nat -A OUTPUT -j KUBE"]),
    (Remove(Jump("n", "nat", "OUTPUT", "-j KUBE")), ["ip netns exec n iptables -t nat -D OUTPUT -j KUBE"]),
    (
        Replace(POLICY, replace(POLICY, policy="ACCEPT")),
        ["ip netns exec n iptables -t filter -P FORWARD ACCEPT"],
    ),
    (
        Remove(OtherRoute("n", BLOCK, "boot", "prohibit 20.109.131.0/26 metric 5", b"", 5)),
        ["ip -n n route del prohibit 20.109.131.0/26 metric 5"],
    ),
    (
        Replace(GONE, replace(GONE, there=True)),
        ["ip -n n rule add pref 32766 from all lookup main"],
    ),
    (
        Replace(replace(GONE, ipv6=True, there=True), replace(GONE, ipv6=True)),
        ["ip -6 -n n rule del pref 32766 from all lookup main"],
    ),
    (
        Replace(replace(CONNECTED, there=False), CONNECTED),
        ["ip -n n route append 192.168.59.0/24 dev eth0 proto kernel scope link src 192.168.59.22"],
    ),
    (
        Replace(replace(LOCAL, there=False), LOCAL),
        ["ip -n n route append local 192.168.59.22 dev eth0 table local proto kernel scope host src 192.168.59.22"],
    ),
    (
        Replace(QUIET, replace(QUIET, value=1)),
        ["bridge -n n link set dev v learning on"],
    ),
    (
        Add(LinkSetting("n", "eth0", "any", "txqueuelen", 1000, 1000)),
        ["ip -n n link set eth0 txqueuelen 1000"],
    ),
    (Add(Dummy("n", "kube-ipvs0")), ["ip -n n link add kube-ipvs0 type dummy"]),
    (Remove(Dummy("n", "kube-ipvs0")), ["ip -n n link del kube-ipvs0"]),
    (Add(BALANCER), ["ip netns exec n ipvsadm -A -t 10.96.0.10:53 -s rr"]),
    (
        Replace(BALANCER, replace(BALANCER, scheduler="mh", persistence=10800, flags="mh-port")),
        ["ip netns exec n ipvsadm -E -t 10.96.0.10:53 -s mh -p 10800 -b mh-port"],
    ),
    (Remove(BALANCER), ["ip netns exec n ipvsadm -D -t 10.96.0.10:53"]),
    (Remove(NftTable("n", "kube-proxy")), ["ip netns exec n nft delete table ip kube-proxy"]),
    (
        Add(NftSet("n", "kube-proxy", "cluster-ips", "type ipv4_addr ;")),
        ["ip netns exec n nft add set ip kube-proxy cluster-ips '{ type ipv4_addr ; }'"],
    ),
    (
        Add(NftChain("n", "kube-proxy", "services", "", ("jump masquerading",))),
        [
            "ip netns exec n nft add chain ip kube-proxy services",
            "ip netns exec n nft add rule ip kube-proxy services jump masquerading",
        ],
    ),
    (
        Add(NftElement("n", "kube-proxy", "cluster-ips", "10.96.0.10")),
        ["ip netns exec n nft add element ip kube-proxy cluster-ips '{ 10.96.0.10 }'"],
    ),
    (
        Add(Control("n", "n")),
        ["# the lab's API server and endpoints controller: no command to type; what it wrote stays without it"],
    ),
    (Add(KubeProxy("n", "n", "{}")), ["# kube-proxy: no command to type; what it wrote stays without it"]),
    (Add(Bird("n", "n", "", "bird")), ["# BIRD: it speaks BGP; what it wrote stays without it"]),
    (Add(Felix("n", "n", "{}")), ["# felix: no command to type; what it wrote stays without it"]),
    (Add(SERVER), ["ip netns exec n ipvsadm -a -u 10.96.0.10:53 -r 20.111.156.7:5353 -m -w 1"]),
    (
        Replace(SERVER, replace(SERVER, weight=0)),
        ["ip netns exec n ipvsadm -e -u 10.96.0.10:53 -r 20.111.156.7:5353 -m -w 0"],
    ),
    (Remove(SERVER), ["ip netns exec n ipvsadm -d -u 10.96.0.10:53 -r 20.111.156.7:5353"]),
    (
        Add(replace(SERVER, protocol="sctp")),
        ["ip netns exec n ipvsadm -a --sctp-service 10.96.0.10:53 -r 20.111.156.7:5353 -m -w 1"],
    ),
    (Add(NodeAgent("n", "n")), ["# nslab-node: no command to type; it is the parent of what follows"]),
    (
        Add(TunnelAgent("n", "n", "tunl0", HOST)),
        ["NSLAB='n tunnel' ip netns exec n $PYTHON -P -m nslab.components.ipip.tunnel tunl0 192.168.59.23 &"],
    ),
    (
        Add(PAUSE),
        [
            ("NSLAB='p pause' ip netns exec p unshare --uts --ipc sh -c 'hostname pod-b && exec sleep infinity' & "
            "pause[p]=$!")
        ],
    ),
    (
        Add(APP),
        [
            (f"NSLAB='p container/app' {INSIDE} env 'WHO=you & me' "
            "$PYTHON -P -m nslab.components.images.agnhost netexec --http-port=8080 &")
        ],
    ),
    (
        Add(PLUGGED),
        [
            ("made=$(CNI_COMMAND=ADD CNI_CONTAINERID=c0ffee CNI_NETNS=/run/netns/p CNI_IFNAME=eth0 "
            "CNI_ARGS='IgnoreUnknown=1;IP=192.168.59.23' CNI_PATH=/opt:/usr/lib/cni ip netns exec n /opt/bridge "
            """<<< '{"cniVersion": "1.0.0", "name": "pods", "type": "bridge"}')"""),
            ("made=$(CNI_COMMAND=ADD CNI_CONTAINERID=c0ffee CNI_NETNS=/run/netns/p CNI_IFNAME=eth0 "
            "CNI_ARGS='IgnoreUnknown=1;IP=192.168.59.23' CNI_PATH=/opt:/usr/lib/cni ip netns exec n /opt/tuning "
            """<<< '{"cniVersion": "1.0.0", "name": "pods", "type": "tuning"'', "prevResult": '"$made"'}')"""),
        ],
    ),
    (
        Remove(PLUGGED),
        [
            (f"CNI_COMMAND=DEL CNI_CONTAINERID=c0ffee CNI_NETNS=/run/netns/p CNI_IFNAME=eth0 "
            f"CNI_ARGS='IgnoreUnknown=1;IP=192.168.59.23' CNI_PATH=/opt:/usr/lib/cni ip netns exec n /opt/{plugin} "
            f"""<<< '{{"cniVersion": "1.0.0", "name": "pods", "type": "{plugin}"}}'""")
            for plugin in ("tuning", "bridge")
        ],
    ),
    (
        Remove(PAUSE),
        [
            ("grep -lszE '^NSLAB=p pause( |$)' /proc/[0-9]*/environ | cut -d/ -f3 | xargs -r kill -9 || true  "
            "# pause, the process that holds the namespaces of pod default/pod-b")
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("step", "typed"), TRANSCRIPT, ids=[typed[0][:60] for _, typed in TRANSCRIPT])
def test_what_a_person_would_type(step: Step, typed: list[str]) -> None:
    assert commands(step) == typed
    assert command(step) == "; ".join(typed)


def test_every_kind_is_in_the_transcript() -> None:
    assert {type(step.obj) for step, _ in TRANSCRIPT} == set(kinds())


def test_no_word_of_a_container_is_read_by_the_shell() -> None:
    argv = ("sh", "-c", "echo 'a'\necho $HOME `id` \\ end")
    step = Add(Workload("p", "n", "app", argv, (), "/", 0))
    assert "\n" not in command(step)
    words = command(step).removeprefix(f"NSLAB='p container/app' {INSIDE} ").removesuffix(" &")
    output = subprocess.run(["bash", "-c", f"printf '%s\\0' {words}"], capture_output=True, text=True, check=True)
    assert tuple(output.stdout.split("\0")[:-1]) == argv


def test_who_a_container_runs_as_is_part_of_its_command() -> None:
    def line(*security: Any) -> str:
        step = Add(replace(APP, argv=("sleep", "1"), env=(), security=Security(*security)))
        return command(step).removeprefix(f"NSLAB='p container/app' {INSIDE} ").removesuffix(" &")

    assert line() == "sleep 1"
    assert line(0, 0, (), (), True) == "sleep 1"
    assert line(1000) == "setpriv --reuid=1000 --regid=0 --clear-groups sleep 1"
    assert line(0, 0, (5, 6)) == "setpriv --reuid=0 --regid=0 --groups=5,6 sleep 1"
    assert line(0, 0, (), ("NET_RAW", "KILL")) == "setpriv --bounding-set=-net_raw,-kill sleep 1"
    if os.geteuid() == 0:
        asked = line(1000, 2000, (3,), ("NET_RAW",)).replace("sleep 1", "cat /proc/self/status")
        output = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True).stdout
        fields = dict(each.split(":\t", 1) for each in output.splitlines())
        assert [fields[name].split()[0] for name in ("Uid", "Gid", "Groups", "CapEff")] == [
            "1000",
            "2000",
            "3",
            "0" * 16,
        ]
        assert int(fields["CapBnd"], 16) >> 13 & 1 == 0


def test_a_script_is_bash_and_says_who_does_what() -> None:
    plan = tuple(step for step, _ in TRANSCRIPT)
    text = script((Add(Netns("nslab.a.n", by="the machines")), *plan), "The lab a.", "nslab.a.")
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert text.startswith("#!/usr/bin/env bash\n# The lab a.\n")
    assert "\n# the machines\nip netns add nslab.a.n\n" in text
    assert "\npause p pod-b\n" in text


def test_a_script_takes_its_own_lab_away_and_no_other() -> None:
    text = script((), "", "nslab.a.")
    (pattern,) = (line.split("'")[1] for line in text.splitlines() if "grep" in line)
    names = "nslab.a.n1 (id: 1)\nnslab.a-2.n1\nnslabxa.n1\nnslab.a.n2\n"
    found = subprocess.run(["grep", "-o", pattern], input=names, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["nslab.a.n1", "nslab.a.n2"]


def test_containers_of_a_pod_that_shares_its_processes_see_each_other() -> None:
    text = script((Add(replace(PAUSE, share_pid=True)), Add(APP)), "", "nslab.a.")
    assert "\npause p pod-b --pid --fork --mount-proc\n" in text
    assert "--ipc --pid=/proc/${pause[p]}/ns/pid_for_children unshare --mount-proc env 'WHO=you & me' $PYTHON" in text


def test_a_script_types_chains_before_the_rules_that_jump_to_them() -> None:
    user, used = Chain("n", "nat", "A", ("-j B",)), Chain("n", "nat", "B", ("-j ACCEPT",))
    way = Jump("n", "nat", "OUTPUT", "-j A")

    def typed(*steps: Step) -> list[str]:
        lines = script(steps, "", "nslab.a.").splitlines()
        return [line.removeprefix("ip netns exec n iptables -t nat ") for line in lines if " -t nat " in line]

    assert typed(Add(user), Add(used), Add(way)) == [
        "-N A", "-N B", "-A A -j B", "-A B -j ACCEPT", "-I OUTPUT 1 -j A",
    ]  # fmt: skip
    assert typed(Remove(way), Remove(used), Remove(user)) == ["-D OUTPUT -j A", "-F B", "-F A", "-X B", "-X A"]


def test_what_comes_and_goes_in_one_restore_is_nothing() -> None:
    chain, way = Chain("n", "nat", "A", ("-j ACCEPT",)), Jump("n", "nat", "OUTPUT", "-j A")
    assert settled((Add(way), Remove(way))) == ()
    assert settled((Remove(way), Add(way))) == ()
    lower = replace(way, place="last")
    assert settled((Remove(way), Add(lower))) == (Remove(way), Add(lower)), "the same rule, at the other end"
    assert settled((Add(chain), Add(way), Remove(way), Remove(chain))) == (Remove(chain),)
    assert settled((Remove(chain), Add(chain), Add(way))) == (Add(chain), Add(way))
    assert iptables_restore((Add(chain), Remove(chain))).splitlines() == ["*nat", ":A - [0:0]", "-X A", "COMMIT"]


def test_a_script_without_an_interpreter_that_has_nslab_says_so() -> None:
    lines = script((Add(APP),), "", "nslab.a.", "/nonexistent/b c")
    done = subprocess.run(["bash"], input=lines, capture_output=True, text=True, env={"PATH": os.environ["PATH"]})
    sentence = "/nonexistent/b c cannot import nslab: run this script with PYTHON=…, the python that has nslab\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", sentence)
