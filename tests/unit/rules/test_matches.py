"""iptables' matches, each asked about packets: yes, no, or by name what is unknown."""

from __future__ import annotations

import os
import sys
from fractions import Fraction
from typing import Any

import pytest

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from ask import answer, packet

UDP: dict[str, Any] = {"protocol": 17}
ICMP: dict[str, Any] = {"protocol": 1}
OUT: dict[str, Any] = {"iif": ""}


@pytest.mark.parametrize(
    ("rule", "changes", "expected"),
    [
        ("", {}, True),
        ("-s 198.51.100.7/32", {}, True),
        ("-s 198.51.100.0/24", {}, True),
        ("! -s 198.51.100.0/24", {}, False),
        ("-s ! 198.51.100.0/24", {}, False),
        ("--source 198.51.100.0/255.255.255.0", {}, True),
        ("-d 10.0.0.2/255.255.0.255", {}, True),
        ("-d 10.0.0.2/255.0.255.255", {}, False),
        ("-d example.org", {}, "-d example.org"),
        ("-p tcp", {}, True),
        ("-p 6", {}, True),
        ("-p all", {}, True),
        ("! -p tcp", {}, False),
        ("-p ipencap", {"protocol": 4}, True),
        ("-p 4", {"protocol": 4}, True),
        ("-i eth0", {}, True),
        ("-i eth+", {}, True),
        ("-i eth", {}, False),
        ("! -i cali+", {}, True),
        ("--in-interface cali+", {"iif": "cali123"}, True),
        ("-o cbr0", {}, True),
        ("! -o lo", {}, True),
        ("-f", {}, False),
        ("! -f", {}, True),
        ("-f", {"fragment": True}, True),
        ("-p tcp -m tcp --dport 80", {}, True),
        ("-p tcp -m tcp --dport 80", {"fragment": True}, False),
        ("-p tcp -m tcp ! --dport 81", {"fragment": True}, False),
        ("-p tcp --dport 80:90", {}, True),
        ("-p tcp --dport :79", {}, False),
        ("-p tcp --dport 80:", {}, True),
        ("-p tcp -m tcp ! --sport 1:1024", {}, True),
        ("-m tcp -p tcp --destination-port 80", {}, True),
        ("-p tcp --dport http", {}, "tcp --dport http"),
        ("-p udp --dport 80", {}, False),
        ("-p udp -m udp --dport 80", UDP, True),
        ("-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN", {}, True),
        ("-p tcp --syn", {"tcp_flags": 18}, False),
        ("-p tcp ! --syn", {"tcp_flags": 18}, True),
        ("-p tcp --tcp-flags ALL NONE", {"tcp_flags": 0}, True),
        ("-p tcp --tcp-option 5", {}, "tcp --tcp-option"),
        ("-p icmp -m icmp --icmp-type 8", ICMP, True),
        ("-p icmp -m icmp --icmp-type any", ICMP, True),
        ("-p icmp --icmp-type echo-reply", ICMP, False),
        ("-p icmp -m icmp --icmp-type 3/4", {**ICMP, "icmp_type": 3, "icmp_code": 4}, True),
        ("-p icmp -m icmp --icmp-type 3/4", {**ICMP, "icmp_type": 3, "icmp_code": 3}, False),
        ("-p icmp -m icmp ! --icmp-type 8", ICMP, False),
        ("-p sctp -m sctp --dport 80", {"protocol": 132}, True),
        ("-p sctp -m sctp --chunk-types any INIT", {"protocol": 132}, "sctp --chunk-types"),
        ("-p tcp -m multiport --dports 22,80,443", {}, True),
        ("-p tcp -m multiport --dports 22,79:81", {}, True),
        ("-p tcp -m multiport ! --dports 22,80", {}, False),
        ("-p tcp -m multiport --destination-ports 80", {}, True),
        ("-p tcp -m multiport --ports 40000", {}, True),
        ("-p tcp -m multiport --sports 80", {}, False),
        ('-m comment --comment "a \\"quoted\\" -j word"', {}, True),
        ("-m conntrack --ctstate NEW", {}, True),
        ("-m conntrack --ctstate RELATED,ESTABLISHED", {}, False),
        ("-m conntrack ! --ctstate RELATED,ESTABLISHED", {}, True),
        ("-m conntrack --ctstate DNAT", {"status": frozenset({"DNAT"})}, True),
        ("-m conntrack ! --ctstate DNAT", {}, True),
        ("-m conntrack --ctstate INVALID", {"state": "INVALID"}, True),
        ("-m state --state NEW", {}, True),
        ("-m state ! --state NEW,UNTRACKED", {"state": "UNTRACKED"}, False),
        ("-m conntrack --ctdir REPLY", {"reply": True, "state": "ESTABLISHED"}, True),
        ("-m conntrack --ctdir REPLY", {"state": "UNTRACKED"}, False),
        ("-m conntrack ! --ctdir REPLY", {"state": "UNTRACKED"}, False),
        ("-m conntrack --ctproto tcp --ctorigdst 10.0.1.2 --ctorigdstport 80", {}, True),
        ("-m conntrack --ctorigdst 10.0.1.3", {}, False),
        ("-m conntrack --ctreplsrc 10.0.1.3", {}, "conntrack --ctreplsrc"),
        ("-m conntrack --ctstatus SEEN_REPLY", {"status": frozenset({"SEEN_REPLY"}), "state": "ESTABLISHED"}, True),
        ("-m conntrack --ctstatus NONE", {}, True),
        ("-m mark --mark 0x4000/0x4000", {"mark": 0x5000}, True),
        ("-m mark ! --mark 0x4000/0x4000", {}, True),
        ("-m mark --mark 5", {"mark": 5}, True),
        ("-m mark --mark 0/0x20000", {}, True),
        ("-m connmark --mark 0x1/0xff", {"ct_mark": 0x101}, True),
        ("-m connmark ! --mark 0x1", {"state": "INVALID"}, False),
        ("-m addrtype --dst-type LOCAL", {"destination": "192.0.2.1"}, True),
        ("-m addrtype --dst-type LOCAL", {"destination": "127.0.0.9"}, True),
        ("-m addrtype ! --dst-type LOCAL", {}, True),
        ("-m addrtype --dst-type UNICAST,BROADCAST", {"destination": "192.0.2.255"}, True),
        ("-m addrtype --dst-type BROADCAST --limit-iface-out", {"destination": "192.0.2.255"}, False),
        ("-m addrtype --dst-type MULTICAST", {"destination": "224.0.0.5"}, True),
        ("-m addrtype ! --src-type LOCAL --limit-iface-out", {"source": "192.0.2.1"}, True),
        ("-m addrtype --src-type LOCAL --limit-iface-out", {"source": "10.0.1.1"}, True),
        ("-m addrtype --dst-type LOCAL --limit-iface-in", {"destination": "10.0.1.1"}, False),
        ("-m statistic --mode random --probability 0.33333333349", {}, Fraction(1, 3)),
        ("-m statistic --mode random --probability 0.3333333333", {}, Fraction(1, 3)),
        ("-m statistic --mode random ! --probability 0.2", {}, Fraction(4, 5)),
        ("-m statistic --mode random --probability 1.0000000000", {}, True),
        ("-m statistic --mode random --probability 0", {}, False),
        ("-m statistic --mode nth --every 3 --packet 0", {}, Fraction(1, 3)),
        ("-m recent --rcheck --seconds 10800 --reap --name A --mask 255.255.255.255 --rsource", {}, False),
        ("-m recent --rcheck --seconds 10800 --reap --name A", {"recent": frozenset("A")}, True),
        ("-m recent ! --rcheck --name A", {}, True),
        ("-m recent --update --hitcount 4 --name A", {"recent": frozenset("A")}, "recent --name A"),
        ("-m recent --update --hitcount 4 --name A", {}, False),
        ("-m recent --set --name A", {}, True),
        ("-m physdev --physdev-is-bridged", {}, False),
        ("-m physdev ! --physdev-is-in", {}, True),
        ("-m physdev ! --physdev-is-in --physdev-in a", {}, False),
        ("-m physdev --physdev-is-in", {"physdev_in": "veth1"}, True),
        ("-m physdev --physdev-in veth+ --physdev-out b", {"physdev_in": "veth1", "physdev_out": "b"}, True),
        ("-m nfacct --nfacct-name x", {}, True),
        ("-m limit --limit 3/min --limit-burst 2", {}, True),
        ("-m hashlimit --hashlimit-upto 5/sec --hashlimit-burst 5 --hashlimit-mode srcip --hashlimit-name x", {}, True),
        ("-m hashlimit --hashlimit-above 5/sec --hashlimit-name x", {}, False),
        ("-m connlimit --connlimit-above 5 --connlimit-mask 32 --connlimit-saddr", {}, False),
        ("-m connlimit --connlimit-above 0 --connlimit-mask 32 --connlimit-saddr", {}, True),
        ("-m connlimit --connlimit-upto 5", {}, True),
        ("-m pkttype --pkt-type unicast", {}, True),
        ("-m pkttype ! --pkt-type broadcast", {"pkttype": "broadcast"}, False),
        ("-m ttl --ttl-eq 64", {}, True),
        ("-m ttl --ttl-lt 64", {}, False),
        ("-m ttl --ttl-gt 5", {}, True),
        ("-m length --length 40:60", {}, True),
        ("-m length ! --length 60", {}, False),
        ("-m dscp --dscp 0x0a", {"tos": 40}, True),
        ("-m tos --tos 0x10/0x3f", {"tos": 0x50}, True),
        ("-m iprange --src-range 198.51.100.1-198.51.100.9 ! --dst-range 10.0.1.3-10.0.1.9", {}, True),
        ("-m mac --mac-source 00:11:22:33:44:AA", {"mac": "00:11:22:33:44:aa"}, True),
        ("-m mac --mac-source 00:11:22:33:44:AA", {}, "mac"),
        ("-m owner --uid-owner 0", {**OUT, "uid": 0}, True),
        ("-m owner ! --uid-owner 0-99", {**OUT, "uid": 5}, False),
        ("-m owner --uid-owner 0", OUT, "owner --uid-owner"),
        ("-m owner --uid-owner 0", {}, False),
        ("-m owner ! --uid-owner 0", {}, True),
        ('-m u32 --u32 "0x6&0xff=0x1"', {}, "u32"),
        ('-m bpf --bytecode "1,6 0 0 1"', {}, "bpf"),
        ('-m string --string "-j ACCEPT" --algo bm', {}, "string"),
        ("-m time --timestart 10:00:00 --timestop 12:00:00", {}, "time"),
        ("-p tcp -m tcp --no-such 5", {}, "tcp --no-such"),
        ("-m conntrack --no-such 5", {}, "conntrack --no-such"),
        ("-p udp -m string --string x", {}, False),
    ],
)  # fmt: skip
def test_a_match(rule: str, changes: dict[str, Any], expected: object) -> None:
    assert answer(rule, packet(**changes)) == expected


def test_two_lots_in_one_rule_are_multiplied() -> None:
    lots = "-m statistic --mode random --probability 0.5 -m statistic --mode random --probability 0.5"
    assert answer(lots, packet()) == Fraction(1, 4)


@pytest.mark.parametrize(
    ("options", "changes", "expected"),
    [
        ("", {}, True),
        ("--invert", {}, False),
        ("", {"source": "10.0.1.9"}, False),
        ("--invert", {"source": "10.0.1.9"}, True),
        ("--loose", {"source": "10.0.1.9"}, True),
        ("--validmark", {"mark": 7}, False),
        ("", {"mark": 7}, True),
        ("", {"source": "192.0.2.1"}, False),
        ("--accept-local", {"source": "192.0.2.1"}, True),
        ("", {"source": "0.0.0.0", "destination": "255.255.255.255"}, True),
        ("", {"source": "0.0.0.0"}, False),
        ("", {"source": "127.0.0.1", "iif": "lo"}, True),
    ],
)
def test_rpfilter_looks_up_the_way_back(options: str, changes: dict[str, Any], expected: object) -> None:
    assert answer(f"-m rpfilter {options}", packet(**changes), hook="PREROUTING") == expected


SETS = """\
create nets hash:net family inet hashsize 1024 maxelem 65536
add nets 10.0.0.0/16
add nets 10.0.1.0/24 nomatch
add nets 10.0.1.2
create ips hash:ip family inet hashsize 1024 maxelem 65536
add ips 198.51.100.7 comment "a nomatch \\" word"
create masked hash:ip family inet hashsize 1024 maxelem 65536 netmask 24
add masked 198.51.100.0
create ipport hash:ip,port family inet hashsize 1024 maxelem 65536
add ipport 10.0.1.2,tcp:80
add ipport 10.0.1.2,icmp:8/0
create three hash:ip,port,ip family inet hashsize 1024 maxelem 65536
add three 10.0.1.2,tcp:80,198.51.100.7
create cidr hash:ip,port,net family inet hashsize 1024 maxelem 65536
add cidr 10.0.1.2,tcp:80,198.51.100.0/24
create netport hash:net,port family inet hashsize 1024 maxelem 65536
add netport 10.0.0.0/8,tcp:80
create ports bitmap:port range 0-65535
add ports 80
create all list:set size 8
add all ipport
add all nets
create six hash:ip family inet6 hashsize 1024 maxelem 65536
create odd hash:net,iface family inet hashsize 1024 maxelem 65536
add odd 10.0.0.0/8,physdev:eth0
create mac hash:mac hashsize 1024 maxelem 65536
add mac 00:11:22:33:44:55
"""


@pytest.mark.parametrize(
    ("rule", "changes", "expected"),
    [
        ("--match-set nets dst", {}, True),
        ("--match-set nets dst", {"destination": "10.0.1.3"}, False),
        ("--match-set nets dst", {"destination": "10.0.9.3"}, True),
        ("--match-set nets src", {}, False),
        ("--match-set nets dst --return-nomatch", {"destination": "10.0.1.3"}, True),
        ("--match-set nets dst --return-nomatch", {}, False),
        ("--match-set ips src", {}, True),
        ("! --match-set ips src", {}, False),
        ("! --match-set ips src ! --update-counters", {}, False),
        ("--match-set ips src --packets-gt 5", {}, "set --packets-gt"),
        ("--match-set masked src", {}, True),
        ("--match-set ipport dst,dst", {}, True),
        ("--match-set ipport dst,dst", UDP, False),
        ("--match-set ipport dst,dst", ICMP, True),
        ("--match-set ipport dst", {}, False),
        ("--match-set ipport dst,src", {}, False),
        ("--match-set three dst,dst,src", {}, True),
        ("--match-set cidr dst,dst,src", {}, True),
        ("--match-set cidr dst,dst,src", {"source": "198.51.101.7"}, False),
        ("--match-set netport dst,dst", {}, True),
        ("--match-set ports dst", {}, True),
        ("--match-set ports dst", UDP, True),
        ("--match-set ports dst", ICMP, False),
        ("--match-set all dst,dst", {}, True),
        ("--match-set all dst,dst", {"destination_port": 81}, True),
        ("--match-set all dst,dst", {"destination": "10.0.1.3"}, False),
        ("--match-set six src", {}, False),
        ("--match-set none src", {}, "set none, which the dump does not have"),
        ("--match-set odd dst,src", {}, "set odd (its member '10.0.0.0/8,physdev:eth0')"),
        ("--match-set mac src", {"mac": "00:11:22:33:44:55"}, True),
        ("--match-set mac src", {}, "the packet's mac (set mac)"),
    ],
)
def test_a_set(rule: str, changes: dict[str, Any], expected: object) -> None:
    assert answer(f"-m set {rule}", packet(**changes), SETS) == expected


def test_before_conntrack_a_packet_is_invalid_and_has_no_mark_of_its_connection() -> None:
    from ask import one_rule

    for rule, there in (("-m conntrack --ctstate INVALID", True), ("-m conntrack --ctstate NEW", False)):
        assert (one_rule(f"{rule} -j ACCEPT", packet(), "raw", "PREROUTING") is not None) is there
        assert (one_rule(f"{rule} -j ACCEPT", packet(), "mangle", "PREROUTING") is not None) is not there


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("-p tcp -m tcp --sport 1024:65535", True),
        ("-p tcp -m tcp --sport 1:1023", False),
        ("-p tcp -m tcp ! --sport 1:1023", True),
        ("-p tcp -m tcp --sport 40000", "the sender's port"),
        ("-p tcp -m multiport --sports 53,1000:65535", True),
        ("-p tcp -m multiport --ports 80,9000", True),
        ("-p tcp -m multiport --ports 81,50000", "the sender's port"),
        ("-p tcp -m tcp --dport 80 --sport 30123", False),
    ],
)
def test_a_port_that_the_senders_kernel_is_still_to_choose(rule: str, expected: object) -> None:
    assert answer(rule, packet(source_port=0)) == expected
