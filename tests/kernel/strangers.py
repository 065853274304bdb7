"""Whatever can be put into a network namespace, a command each; and how `diff` names it."""

from __future__ import annotations

from typing import NamedTuple

from nslab.objects.names import cali

B = cali("default", "pod-b")


class Stranger(NamedTuple):
    """What somebody does on a host, and how `diff` names it. `kind`: by whom of `KINDS` it is read."""

    kind: str
    host: str
    command: str
    named: str


OTHERS = {
    "rule of iptables": Stranger(
        "iptables",
        "node1",
        "iptables -I FORWARD -s 5.6.7.8 -j DROP",
        "iptables -t filter -A FORWARD -s 5.6.7.8/32 -j DROP",
    ),
    "the same rule twice": Stranger(
        "iptables",
        "node1",
        "for i in 1 2; do iptables -A FORWARD -s 5.6.7.8 -j DROP; done",
        "iptables -t filter -A FORWARD -s 5.6.7.8/32 -j DROP",
    ),
    "rule with a comment": Stranger(
        "iptables",
        "node1",
        'iptables -A INPUT -s 5.6.7.8 -m comment --comment "it\'s \\"mine\\"" -j DROP',
        "-m comment --comment",
    ),
    "chain": Stranger(
        "iptables", "node1", "iptables -N MINE; iptables -A MINE -j RETURN", "iptables -t filter -N MINE"
    ),
    "rule in a pod": Stranger("iptables", "pod-b", "iptables -A INPUT -j DROP", "iptables -t filter -A INPUT -j DROP"),
    "NOTRACK": Stranger(
        "iptables", "pod-b", "iptables -t raw -A PREROUTING -j NOTRACK", "iptables -t raw -A PREROUTING -j NOTRACK"
    ),
    "rule of the other variant": Stranger(
        "iptables",
        "node1",
        "iptables-legacy -t raw -A PREROUTING -s 5.6.7.8 -j DROP",
        "iptables-legacy -t raw -A PREROUTING -s 5.6.7.8/32 -j DROP",
    ),
    "policy of the other variant": Stranger(
        "iptables", "node2", "iptables-legacy -P FORWARD DROP", "iptables-legacy -t filter -P FORWARD DROP"
    ),
    "rule of IPv6": Stranger(
        "iptables", "node1", "ip6tables -A INPUT -p udp -j DROP", "ip6tables -t filter -A INPUT -p udp -j DROP"
    ),
    "policy of IPv6": Stranger("iptables", "node1", "ip6tables -P INPUT DROP", "ip6tables -t filter -P INPUT DROP"),
    "nft rule in a table of iptables": Stranger(
        "iptables",
        "pod-b",
        "iptables -A INPUT -s 1.2.3.4 -j DROP; nft 'add rule ip filter INPUT ct state vmap { invalid : drop }'",
        "nft rules in table ip filter that iptables cannot list",
    ),
    "nft table ip": Stranger(
        "nft tables",
        "node1",
        "nft add table ip mine; nft 'add chain ip mine f { type filter hook forward priority 10 ; policy drop ; }'",
        "nft table ip mine (hook forward policy drop)",
    ),
    "nft table inet": Stranger("nft tables", "pod-b", "nft add table inet rogue", "nft table inet rogue"),
    "nft table bridge": Stranger("nft tables", "switch", "nft add table bridge rogue", "nft table bridge rogue"),
    "nft table arp": Stranger("nft tables", "client", "nft add table arp rogue", "nft table arp rogue"),
    "nft table netdev": Stranger("nft tables", "client", "nft add table netdev rogue", "nft table netdev rogue"),
    "rule of arptables": Stranger(
        "nft tables",
        "client",
        "arptables -A INPUT -s 5.6.7.8 -j DROP",
        "nft table arp filter (hook input policy accept",
    ),
    "rule of ebtables": Stranger(
        "nft tables",
        "switch",
        "ebtables -A FORWARD -s 2:0:0:0:0:9 -j DROP",
        "nft table bridge filter (hook forward policy accept",
    ),
    "policy of ebtables": Stranger(
        "nft tables", "switch", "ebtables -P FORWARD DROP", "nft table bridge filter (hook forward policy drop"
    ),
    "ipset on a node": Stranger(
        "ipsets", "node1", "ipset create mine hash:ip; ipset add mine 1.2.3.4", "ipset mine (hash:ip, 1 members)"
    ),
    "ipset in a pod": Stranger("ipsets", "pod-b", "ipset create mine hash:net", "ipset mine (hash:net, 0 members)"),
    "qdisc": Stranger(
        "qdiscs and filters",
        "node1",
        f"tc qdisc add dev {B} root tbf rate 1mbit burst 10k latency 10ms",
        f"dev {B} root",
    ),
    "ingress": Stranger("qdiscs and filters", "pod-b", "tc qdisc add dev eth0 ingress", "qdisc ingress ffff: dev eth0"),
    "filter": Stranger(
        "qdiscs and filters",
        "node1",
        "tc qdisc add dev eth0 clsact; tc filter add dev eth0 egress protocol ip pref 7 u32 match u32 0 0 flowid 1:1",
        "filter u32 dev eth0 egress pref 7",
    ),
    "class": Stranger(
        "qdiscs and filters",
        "node1",
        f"tc qdisc add dev {B} root handle 1: htb; tc class add dev {B} parent 1: classid 1:10 htb rate 1mbit",
        f"class htb 1:10 dev {B}",
    ),
    "BPF classifier": Stranger(
        "qdiscs and filters",
        "node1",
        "tc qdisc add dev eth0 clsact; tc filter add dev eth0 ingress protocol ip pref 9 bpf bytecode '1,6 0 0 0'",
        "filter bpf dev eth0 ingress pref 9",
    ),
    "XFRM policy": Stranger(
        "XFRM policies",
        "node1",
        "ip xfrm policy add src 20.111.156.0/26 dst 5.6.7.8/32 dir out action block",
        "XFRM policy src 20.111.156.0/26 dst 5.6.7.8/32 dir out action block",
    ),
    "XFRM policy of IPv6": Stranger(
        "XFRM policies",
        "pod-b",
        "ip xfrm policy add src fd00::/8 dst ::/0 dir fwd tmpl proto esp mode tunnel",
        "XFRM policy src fd00::/8 dst ::/0 dir fwd",
    ),
    "routing rule": Stranger(
        "routing rules",
        "node1",
        "ip rule add from 20.111.156.7 lookup 100 pref 50",
        "routing rule pref 50 from 20.111.156.7/32 lookup 100",
    ),
    "routing rule of many words": Stranger(
        "routing rules",
        "node1",
        "ip rule add pref 51 to 1.2.3.0/24 fwmark 0x1/0xff iif eth0 ipproto tcp dport 80-90 prohibit",
        "routing rule pref 51 from all to 1.2.3.0/24 fwmark 0x1/0xff iif eth0 ipproto 6 dport 80-90 prohibit",
    ),
    "IPv6 routing rule": Stranger(
        "routing rules",
        "pod-b",
        "ip -6 rule add pref 52 from fd00::/8 lookup 8",
        "IPv6 routing rule pref 52 from fd00::/8",
    ),
    "route in another table": Stranger(
        "routes",
        "node1",
        "ip route add 198.51.100.0/24 via 192.168.59.1 table 7",
        "route 198.51.100.0/24 via 192.168.59.1 dev eth0 table 7",
    ),
    "local route": Stranger(
        "routes", "node1", "ip route add local 9.9.9.0/24 dev lo", "route local 9.9.9.0/24 dev lo table local"
    ),
    "IPv6 route": Stranger(
        "routes", "pod-b", "ip link set lo up; ip -6 route add blackhole fd02::/64", "route blackhole fd02::/64 dev lo"
    ),
    "nexthop": Stranger(
        "nexthops", "node1", "ip nexthop add id 5 via 192.168.59.1 dev eth0", "nexthop id 5 via 192.168.59.1 dev eth0"
    ),
    "group of nexthops": Stranger(
        "nexthops",
        "node2",
        "ip nexthop add id 5 dev eth0; ip nexthop add id 6 blackhole; ip nexthop add id 7 group 5",
        "nexthop id 7 group 5",
    ),
    "multicast group": Stranger(
        "multicast groups",
        "switch",
        "bridge mdb add dev br0 port node1 grp 239.1.1.1 permanent",
        "multicast group dev br0 port node1 grp 239.1.1.1",
    ),
    "IPv6 neighbour": Stranger(
        "neighbours",
        "pod-b",
        "ip -6 neigh add fd00::9 lladdr 2:0:0:0:0:9 dev eth0",
        "neighbour fd00::9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent",
    ),
    "proxy neighbour": Stranger(
        "neighbours", "node1", "ip neigh add proxy 10.0.0.10 dev eth0", "neighbour proxy 10.0.0.10 dev eth0"
    ),
    "forwarding entry": Stranger(
        "forwarding entries",
        "switch",
        "bridge fdb add 2:0:0:0:0:9 dev node1 master static",
        "FDB entry 02:00:00:00:00:09 dev node1 master",
    ),
    "IPv6 address": Stranger("addresses", "pod-b", "ip addr add fd00::5/64 dev eth0", "address fd00::5/64 dev eth0"),
    "interface": Stranger("interfaces", "node1", "ip link add mine type bridge", "interface mine"),
    "address of an interface of its own": Stranger(
        "addresses",
        "node1",
        "ip link add mine type bridge; ip addr add 1.1.1.1/24 dev mine",
        "address 1.1.1.1/24 dev mine",
    ),
}
"""What is not the lab's: named and left alone, until it is reset."""

OURS = {
    "policy FORWARD": Stranger(
        "iptables",
        "node1",
        "iptables -P FORWARD DROP",
        "node1's chain FORWARD (table filter) has policy DROP instead of ACCEPT",
    ),
    "policy INPUT in a pod": Stranger(
        "iptables",
        "pod-b",
        "iptables -P INPUT DROP",
        "pod-b's chain INPUT (table filter) has policy DROP instead of ACCEPT",
    ),
    "policy in raw": Stranger(
        "iptables",
        "node2",
        "iptables -t raw -P OUTPUT DROP",
        "node2's chain OUTPUT (table raw) has policy DROP instead of ACCEPT",
    ),
    "rule of the kernel's gone": Stranger(
        "routing rules",
        "pod-b",
        "ip rule del pref 32767",
        "pod-b has no routing rule pref 32767 from all lookup default",
    ),
    "unreachable": Stranger(
        "routes",
        "node1",
        "ip route add unreachable 203.0.113.0/24",
        "node1 has a route unreachable 203.0.113.0/24 that is not the lab's",
    ),
    "prohibit": Stranger(
        "routes",
        "node1",
        "ip route replace prohibit 20.111.156.7/32",
        "node1 has the route prohibit 20.111.156.7/32 in place of one that leads through cali",
    ),
    "throw": Stranger(
        "routes",
        "pod-b",
        "ip route add throw 203.0.113.0/24",
        "pod-b has a route throw 203.0.113.0/24 that is not the lab's",
    ),
    "dev lo": Stranger(
        "routes",
        "node1",
        "ip route add 203.0.113.0/24 dev lo",
        "node1 has a route to 203.0.113.0/24 through lo that is not the lab's",
    ),
    "another metric": Stranger(
        "routes",
        "node1",
        "ip route add 20.111.156.7/32 via 192.168.59.1 metric 5",
        "node1 has a route 20.111.156.7/32 via 192.168.59.1 dev eth0 metric 5 that is not the lab's",
    ),
    "MTU of a route": Stranger(
        "routes",
        "node1",
        f"ip route replace 20.111.156.7 dev {B} scope link proto 80 mtu 600",
        f"node1 has the route 20.111.156.7/32 dev {B} proto 80 mtu 600 in place of one that leads through cali",
    ),
    "several ways": Stranger(
        "routes",
        "client",
        "ip route add 203.0.113.0/24 nexthop via 192.168.59.22 weight 2 nexthop via 192.168.59.23",
        "client has a route 203.0.113.0/24 nexthop via 192.168.59.22 dev eth0 weight 2 "
        "nexthop via 192.168.59.23 dev eth0 weight 1 that is not the lab's",
    ),
    "connected route gone": Stranger(
        "routes",
        "node2",
        "ip route del 192.168.59.0/24 dev eth0",
        "node2 has no connected route to 192.168.59.0/24 through eth0",
    ),
    "local route gone": Stranger(
        "routes",
        "node1",
        "ip route del local 192.168.59.22 table local",
        "node1 has no local route to 192.168.59.22/32 through eth0",
    ),
    "broadcast route gone": Stranger(
        "routes",
        "client",
        "ip route del broadcast 192.168.59.255 table local",
        "client has no broadcast route to 192.168.59.255/32 through eth0",
    ),
    "route of lo gone": Stranger(
        "routes",
        "pod-b",
        "ip route del local 127.0.0.0/8 table local",
        "pod-b has no local route to 127.0.0.0/8 through lo",
    ),
    "MAC address": Stranger(
        "interfaces",
        "client",
        "ip link set eth0 address 02:00:00:00:00:55",
        "client's eth0 has MAC address 02:00:00:00:00:55 instead of",
    ),
    "address of lo": Stranger(
        "addresses",
        "node1",
        "ip addr add 1.2.3.4/32 dev lo",
        "node1 has an address 1.2.3.4/32 on lo that is not the lab's",
    ),
    "forwarding of one interface": Stranger(
        "settings",
        "node1",
        "sysctl -qw net.ipv4.conf.eth0.forwarding=0",
        "node1 has net.ipv4.conf.eth0.forwarding = 0 instead of 1",
    ),
    "forwarding of the tunnel": Stranger(
        "settings",
        "node1",
        "sysctl -qw net/ipv4/conf/vxlan.calico/forwarding=0",
        "node1 has net/ipv4/conf/vxlan.calico/forwarding = 0 instead of 1",
    ),
    "forwarding in a pod": Stranger(
        "settings", "pod-b", "sysctl -qw net.ipv4.ip_forward=1", "pod-b has net.ipv4.ip_forward = 1 instead of 0"
    ),
    "end of a TCP connection": Stranger(
        "settings",
        "pod-b",
        "sysctl -qw net.ipv4.tcp_retries2=3",
        "pod-b has net.ipv4.tcp_retries2 = 3 instead of",
    ),
    "queue of connections": Stranger(
        "settings", "pod-b", "sysctl -qw net.core.somaxconn=1", "pod-b has net.core.somaxconn = 1 instead of"
    ),
    "fragments": Stranger(
        "settings", "node1", "sysctl -qw net.ipv4.ipfrag_time=1", "node1 has net.ipv4.ipfrag_time = 1 instead of"
    ),
    "least path MTU": Stranger(
        "settings",
        "node1",
        "sysctl -qw net.ipv4.route.min_pmtu=68",
        "node1 has net.ipv4.route.min_pmtu = 68 instead of",
    ),
    "conntrack": Stranger(
        "settings",
        "node1",
        "sysctl -qw net.netfilter.nf_conntrack_icmp_timeout=1",
        "node1 has net.netfilter.nf_conntrack_icmp_timeout = 1 instead of",
    ),
    "rp_filter": Stranger(
        "settings",
        "node1",
        "sysctl -qw net.ipv4.conf.all.rp_filter=1",
        "node1 has net.ipv4.conf.all.rp_filter = 1 instead of",
    ),
    "rp_filter of one interface": Stranger(
        "settings",
        "node1",
        "sysctl -qw net.ipv4.conf.eth0.rp_filter=1",
        "node1 has net.ipv4.conf.eth0.rp_filter = 1 instead of",
    ),
    "echo": Stranger(
        "settings",
        "pod-b",
        "sysctl -qw net.ipv4.icmp_echo_ignore_all=1",
        "pod-b has net.ipv4.icmp_echo_ignore_all = 1 instead of 0",
    ),
    "ARP": Stranger(
        "settings",
        "pod-b",
        "sysctl -qw net.ipv4.conf.eth0.arp_ignore=8",
        "pod-b has net.ipv4.conf.eth0.arp_ignore = 8 instead of 0",
    ),
    "IPv6": Stranger(
        "settings",
        "pod-b",
        "sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1",
        "pod-b has net.ipv6.conf.eth0.disable_ipv6 = 1 instead of 0",
    ),
    "queue": Stranger(
        "attributes of interfaces",
        "node1",
        f"ip link set {B} txqueuelen 1",
        f"node1's {B} has txqueuelen 1 instead of 1000",
    ),
    "promiscuous": Stranger(
        "attributes of interfaces", "pod-b", "ip link set eth0 promisc on", "pod-b's eth0 has promisc on instead of off"
    ),
    "no ARP": Stranger(
        "attributes of interfaces", "client", "ip link set eth0 arp off", "client's eth0 has arp off instead of on"
    ),
    "MTU of lo": Stranger(
        "attributes of interfaces", "pod-b", "ip link set lo mtu 1000", "pod-b's lo has mtu 1000 instead of 65536"
    ),
    "isolated port": Stranger(
        "attributes of interfaces",
        "switch",
        "bridge link set dev node1 isolated on",
        "switch's node1 has isolated on instead of off",
    ),
    "port that floods nothing": Stranger(
        "attributes of interfaces",
        "switch",
        "bridge link set dev node1 flood off",
        "switch's node1 has flood off instead of on",
    ),
    "port that is disabled": Stranger(
        "attributes of interfaces",
        "switch",
        "bridge link set dev node1 state 0",
        "switch's node1 has state 0 instead of 3",
    ),
    "bridge that forgets at once": Stranger(
        "attributes of interfaces",
        "switch",
        "ip link set br0 type bridge ageing_time 0",
        "switch's br0 has type bridge ageing_time 0 instead of 30000",
    ),
    "tunnel that learns": Stranger(
        "attributes of interfaces",
        "node1",
        "ip link set vxlan.calico type vxlan learning",
        "node1's vxlan.calico has type vxlan learning 1 instead of 0",
    ),
    "hairpin": Stranger(
        "states of interfaces",
        "switch",
        "bridge link set dev node1 hairpin on",
        "switch's node1 has hairpin on instead of off",
    ),
    "another master": Stranger(
        "states of interfaces",
        "switch",
        "ip link add br9 type bridge; ip link set node1 master br9",
        "switch's node1 is plugged into br9 instead of bridge br0",
    ),
}
"""What is the lab's to say: it differs, and `up` mends it."""
