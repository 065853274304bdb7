"""What a kube-proxy that starts makes of what the programs say."""

from __future__ import annotations

from nslab.proxy import ipvs, nftables
from nslab.proxy.found import found, leftovers, looks
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
from nslab.ruletext.items import Items, NodeCommand

WEB = ServiceInfo("default", "web", "10.96.0.1", (Port("", 80, endpoints=(Endpoint("20.96.0.2", 8080),)),))
PROXY = Proxy("node1", ("192.168.59.22",))
JUMP = ("jump", "nat", "OUTPUT", '-m comment --comment "kubernetes service portals" -j KUBE-SERVICES', "first")

SAVED = """*nat
:OUTPUT ACCEPT [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]
:KUBE-SEP-BBBBBBBBBBBBBBBB - [0:0]
:KUBE-SVC-STRANGER - [0:0]
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A KUBE-SERVICES -j KUBE-SVC-AAAAAAAAAAAAAAAA
COMMIT
*filter
:KUBE-SEP-CCCCCCCCCCCCCCCC - [0:0]
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
COMMIT
"""


def test_jumps_that_are_there_and_chains_that_nobody_wants() -> None:
    wanted: Items = {
        JUMP: (),
        ("chain", "nat", "KUBE-NODEPORTS"): (),
        ("chain", "nat", "KUBE-SEP-BBBBBBBBBBBBBBBB"): (),
    }
    assert [command.argv for command in looks(wanted, PROXY)] == [("iptables-save",)]
    seen = found([(NodeCommand(("iptables-save",), ""), SAVED)], wanted)
    assert seen == {("chain", "nat", "KUBE-SVC-AAAAAAAAAAAAAAAA"): (), JUMP: ()}


def test_chains_of_iptables_mode_are_not_ipvs_modes_business() -> None:
    assert found([(NodeCommand(("iptables-save",), ""), SAVED)], whole(ipvs, [], PROXY)) == {JUMP: ()}


def test_ipvs_as_its_own_programs_list_it() -> None:
    proxy = Proxy("node1", ("192.168.59.22",), mode="ipvs")
    wanted = whole(ipvs, [WEB], proxy)
    output = {
        "ipset": "create KUBE-CLUSTER-IP hash:ip,port family inet hashsize 1024 maxelem 65536\n"
        "add KUBE-CLUSTER-IP 10.96.0.1,tcp:80\nadd KUBE-CLUSTER-IP 10.96.0.9,tcp:80\n"
        "create cali40 hash:net\nadd cali40 1.0.0.0/8\n",
        "ipvsadm": "-A -t 10.96.0.1:80 -s rr\n-a -t 10.96.0.1:80 -r 20.96.0.2:8080 -m -w 1\n"
        "-A -u 10.96.0.9:53 -s mh -p 600 -b mh-port\n-A --sctp-service 10.96.0.9:9 -s rr\n",
        "link": "1: lo: <LOOPBACK> mtu 65536\n7: kube-ipvs0: <BROADCAST,NOARP> mtu 1500\n",
        "address": "1: lo    inet 127.0.0.1/8 scope host lo\n"
        "7: kube-ipvs0    inet 10.96.0.1/32 scope global kube-ipvs0\\       valid_lft forever\n",
    }
    outputs = [
        (one, next((text for word, text in output.items() if word in one.argv), "")) for one in looks(wanted, proxy)
    ]
    assert found(outputs, wanted) == {
        ("ipset", "KUBE-CLUSTER-IP"): ("hash:ip,port",),
        ("member", "KUBE-CLUSTER-IP", "10.96.0.1,tcp:80"): (),
        ("member", "KUBE-CLUSTER-IP", "10.96.0.9,tcp:80"): (),
        ("virtual", "tcp", "10.96.0.1:80"): ("rr", "", ""),
        ("real", "tcp", "10.96.0.1:80", "20.96.0.2:8080"): ("1",),
        ("virtual", "udp", "10.96.0.9:53"): ("mh", "600", "mh-port"),
        ("virtual", "sctp", "10.96.0.9:9"): ("rr", "", ""),
        ("dummy", "kube-ipvs0"): (),
        ("address", "kube-ipvs0", "10.96.0.1/32"): (),
    }


def test_what_nftables_keeps_of_services_that_are_gone() -> None:
    wanted = whole(nftables, [WEB], PROXY)
    mine = next(item[2] for item in wanted if item[0] == "nft-chain" and item[2].startswith("service-"))
    text = f"table ip kube-proxy {{\n\tchain {mine} {{\n\t}}\n\tchain service-AAAAAAAA-default/old/tcp/ {{\n\t}}\n}}\n"
    text += "table ip stranger {\n\tchain service-x {\n\t}\n}\n"
    sets = (
        "table ip kube-proxy {\n\tset affinity-AAAAAAAA-default/old/tcp/__20.96.0.2/80 {\n\t\ttype ipv4_addr\n\t}\n}\n"
    )
    outputs = list(zip(looks(wanted, PROXY), (text, sets), strict=True))
    assert found(outputs, wanted) == {}
    assert leftovers(outputs, wanted) == {
        ("nft-chain", "kube-proxy", "service-AAAAAAAA-default/old/tcp/"): ("",),
        ("nft-set", "kube-proxy", "affinity-AAAAAAAA-default/old/tcp/__20.96.0.2/80"): ("",),
    }
