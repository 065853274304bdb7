"""Ways to break a lab of two nodes, and what `probe` must say of each, and must not.

In a command `WEB1` is a pod's address, `@WEB1` its link's end on the node, `LAB` the lab's name, `KUBE_PROXY` the
number of the host's kube-proxy process.
"""

from __future__ import annotations

from typing import NamedTuple

PROXY, SERVER, OTHERS = "kube-proxy", "nothing listens", "not the lab's"
NODE1, NODE2 = ("node1 has", "node1's"), ("node2 has", "node2's")
TUNNEL, NETWORK = ("vxlan.calico is down", "FDB entry", "ARP entry"), ("no route", "is down", "FDB entry", "ARP entry")
MIRRED = (
    "act_mirred",
    "tc qdisc add dev lo clsact; tc filter add dev lo egress u32 match u32 0 0 action mirred egress redirect dev lo",
)
GACT = "act_gact", "tc qdisc add dev lo clsact; tc filter add dev lo egress u32 match u32 0 0 action drop"
NETEM = "sch_netem", "tc qdisc add dev lo root netem loss 100%"
EBTABLES = "nf_tables", "ebtables -A FORWARD -j DROP"
BRIDGE_NETFILTER = "br_netfilter", "sysctl net.bridge.bridge-nf-call-iptables"


class Break(NamedTuple):
    """`line` breaks `host`. `says`: all must come, somewhere. `never`: whom no cause and no verdict may name.

    These are what a first guess would blame. `sources`: who asks. `needs`: a driver, and a line that succeeds in a new
    namespace if the kernel can do this. `deleted`: the pod that is deleted next.
    """

    host: str
    line: str
    says: tuple[str, ...]
    never: tuple[str, ...]
    sources: tuple[str, ...] = ("box", "web-1", "node2")
    needs: tuple[str, str] = ("", "true")
    deleted: str = ""


BREAKS = {
    # Routes
    "no block route": Break("node2", "ip route del 20.96.0.0/26", (
        "node2 has no route to 20.96.0.0/26", "look at Felix of node2, not at kube-proxy"),
        (PROXY, SERVER, OTHERS, *NODE1, *TUNNEL)),
    "no route to a pod": Break("node1", "ip route del WEB1", (
        "node1 has no route to 20.96.0.1/32", "never leaving node1"), (PROXY, SERVER, OTHERS, *NODE2, *TUNNEL)),
    "no default route": Break("box", "ip route del default", ("box has no default route", "box sends nothing"),
        (PROXY, SERVER, OTHERS, *NODE1, *NODE2, "proxy_arp")),
    "blackhole": Break("node2", "ip route add blackhole WEB1", ("node2 has a blackhole for 20.96.0.1/32",),
        (PROXY, SERVER, "no route", *NODE1, *TUNNEL)),
    "unreachable": Break("node2", "ip route add unreachable WEB1", ("node2 has a route unreachable 20.96.0.1/32",),
        (PROXY, SERVER, "no route", *NODE1, *TUNNEL)),
    "prohibit": Break("node1", "ip route add prohibit WEB2", ("node1 has a route prohibit 20.96.0.65/32",),
        (PROXY, SERVER, "REJECT", *NODE2)),
    "throw": Break("node2", "ip route add throw WEB1", ("node2 has a route throw 20.96.0.1/32",),
        (PROXY, SERVER, "no route", *NODE1)),
    "route into lo": Break("node2", "ip route add WEB1 dev lo", (
        "node2 has a route to 20.96.0.1/32 through lo", "it has gone in a circle"), (PROXY, SERVER, *NODE1, *TUNNEL)),
    "route to the wrong host": Break("node2", "ip route replace 20.96.0.0/26 via 192.168.59.10 dev eth0", (
        "node2's route to 20.96.0.0/26 leads via 192.168.59.10", "at client's eth0, never leaving client"),
        (PROXY, SERVER, "client has", *NODE1)),
    "routing rule": Break("node2", "ip rule add from BOX blackhole", ("routing rule", "from 20.96.0.66/32 blackhole"),
        (PROXY, SERVER, *NETWORK, *NODE1)),
    "local route gone": Break("node1", "ip route del local 192.168.59.22 table local", (
        "node1 has no local route to 192.168.59.22/32 through eth0",), (PROXY, SERVER, OTHERS, *TUNNEL, "node2 has")),
    "another way, and strict rp_filter": Break(
        "node2", "sysctl -qw net.ipv4.conf.all.rp_filter=1; ip route add WEB1 via 192.168.59.22 dev eth0", (
            "node2 has a route to 20.96.0.1/32 via 192.168.59.22", "its rp_filter dropped packets"),
        (PROXY, SERVER, *NODE1, "is down"), ("box", "web-2")),
    # Neighbours
    "wrong static ARP entry": Break(
        "node2", "ip neigh replace WEB2 lladdr 02:00:00:00:00:99 dev @WEB2 nud permanent",
        ("node2's permanent ARP entry for 20.96.0.65",), (PROXY, SERVER, OTHERS, *NODE1, "no route", "web-2 has")),
    "no ARP entry of a tunnel": Break("node2", "ip neigh del 20.96.0.0 dev vxlan.calico", (
        "node2 has no permanent ARP entry for 20.96.0.0",), (PROXY, SERVER, OTHERS, *NODE1, "no route", "is down")),
    "no proxy ARP": Break(
        "node2", "sysctl -qw net.ipv4.conf.@BOX.proxy_arp=0; ip -n nslab.LAB.box neigh flush all", (
            "proxy_arp = 0 instead of 1", "nobody answers its ARP requests for 169.254.1.1 on eth0"),
        (PROXY, SERVER, OTHERS, *NODE1, "no default route", "box has")),
    "FDB entry": Break(
        "node2",
        'bridge fdb replace "$(bridge fdb show dev vxlan.calico | cut -c 1-17 | head -n 1)" dev vxlan.calico '
        "dst 192.168.59.99", ("node2's FDB entry of vxlan.calico",),
        (PROXY, SERVER, OTHERS, *NODE1, "no route", "is down")),
    "no FDB entry": Break(
        "node2",
        'bridge fdb del "$(bridge fdb show dev vxlan.calico | cut -c 1-17 | head -n 1)" dev vxlan.calico',
        ("node2 has no FDB entry",), (PROXY, SERVER, OTHERS, *NODE1, "no route", "is down")),
    # Sets, chains, rules
    "set member": Break("node2", "ipset del cali40masq-ipam-pools 20.96.0.0/12", (
        "node2 has no member 20.96.0.0/12 in ipset cali40masq-ipam-pools",), (PROXY, SERVER, OTHERS, *NODE1, *NETWORK)),
    "set emptied": Break("node2", "ipset flush cali40all-ipam-pools; ipset flush cali40masq-ipam-pools", (
        "node2 has no member 20.96.0.0/12 in ipset cali40masq-ipam-pools",), (PROXY, SERVER, OTHERS, *NODE1, *NETWORK)),
    "FORWARD's policy": Break("node2", "iptables -P FORWARD DROP; iptables -F FORWARD", (  # Felix's rules accept
        "node2's chain FORWARD (table filter) has policy DROP", "policy DROP of chain FORWARD (table filter) counted",
        "look at node2, not at kube-proxy"),
        (PROXY, SERVER, OTHERS, *NODE1, *NETWORK, "ip_forward")),
    "INPUT's policy": Break("node2", "iptables -P INPUT DROP", (
        "node2's chain INPUT (table filter) has policy DROP", "policy DROP of chain INPUT (table filter) counted"),
        (PROXY, SERVER, OTHERS, *NODE1, *NETWORK)),
    "a pod's OUTPUT": Break("box", "iptables -P OUTPUT DROP", (
        "box's chain OUTPUT (table filter) has policy DROP", "box sends nothing"),
        (PROXY, SERVER, OTHERS, *NODE1, *NODE2, *NETWORK)),
    "rule that drops": Break("node2", "iptables -I FORWARD -p udp -j DROP", (
        "node2 has something that is not the lab's: iptables -t filter -A FORWARD -p udp -j DROP",
        "its rule -A FORWARD -p udp -j DROP (table filter) counted packets", "look at what is not the lab's on node2"),
        (PROXY, SERVER, *NODE1, *NETWORK)),
    "rule that rejects": Break("node2", "iptables -I FORWARD -d WEB2 -j REJECT", (
        "node2 has something that is not the lab's: iptables -t filter -A FORWARD -d 20.96.0.65/32 -j REJECT",),
        (PROXY, SERVER, *NODE1, *NETWORK)),
    "rule that resets": Break("node2", "iptables -I FORWARD -p tcp -d WEB2 -j REJECT --reject-with tcp-reset", (
        "node2 has something that is not the lab's", "node2 refuses it (TCP reset)"),
        (PROXY, SERVER, *NODE1, *NETWORK, "web-2 has")),
    "rule in a pod": Break("web-2", "iptables -A INPUT -p tcp --dport 8080 -j DROP", (
        "web-2 has something that is not the lab's", "web-2 does not answer"),
        (PROXY, SERVER, "hangs", *NODE1, *NODE2, *NETWORK)),
    "rule of mangle": Break("node1", "iptables -t mangle -A FORWARD -p icmp -j DROP", (
        "node1 has something that is not the lab's", "(table mangle) counted packets"),
        (PROXY, SERVER, *NODE2, *NETWORK)),
    "no tracking": Break("node2", "iptables -t raw -I PREROUTING -j NOTRACK", (
        "node2 has something that is not the lab's: iptables -t raw -A PREROUTING -j NOTRACK",),
        ("kube-proxy of", SERVER, *NODE1, *NETWORK)),
    "NAT of others'": Break(
        "node2", "iptables -t nat -I PREROUTING -d 10.96.1.1 -p tcp -j DNAT --to 192.168.59.10:9999",
        ("node2 has something that is not the lab's", "client refuses it (TCP reset)"),
        ("kube-proxy of", SERVER, *NODE1, *NETWORK)),
    "source NAT of others'": Break(
        "node2", "iptables -t nat -I POSTROUTING -d WEB1 -j SNAT --to 192.168.59.23",
        ("node2 has something that is not the lab's: iptables -t nat",),
        ("kube-proxy of", SERVER, "cali40masq", *NODE1, *NETWORK)),
    "nft table": Break(
        "node2", "nft 'add table inet rogue; add chain inet rogue f { type filter hook forward priority 0; }; "
        "add rule inet rogue f ip protocol icmp drop'", (
            "node2 has something that is not the lab's: nft table inet rogue", "never leaving node2"),
        (PROXY, SERVER, *NODE1, *NETWORK)),
    "rule of the bridge": Break("switch", "ebtables -A FORWARD -p IPv4 -j DROP", (
        "switch has something that is not the lab's: nft table bridge filter (hook forward",
        "look at what is not the lab's on switch"), (PROXY, SERVER, *NODE1, *NODE2, *NETWORK),
        needs=EBTABLES),
    "iptables of a bridge": Break(
        "switch", "sysctl -qw net.bridge.bridge-nf-call-iptables=1; iptables -A FORWARD -p tcp -j DROP",
        ("switch has net.bridge.bridge-nf-call-iptables = 1 instead of 0",
         "meanwhile switch's rule -A FORWARD -p tcp -j DROP (table filter) counted packets"),
        (PROXY, SERVER, *NODE1, *NODE2, *NETWORK), needs=BRIDGE_NETFILTER),
    "kube-proxy's rules": Break(
        "node2", "iptables -t nat -F KUBE-SERVICES", (
            "node2's chain KUBE-SERVICES (table nat) lacks", "look at kube-proxy of node2"),
        (SERVER, OTHERS, *NODE1, *NETWORK)),
    "an endpoint's rules": Break(
        "node2", "iptables -t nat -F $(iptables -t nat -S | grep -o 'KUBE-SEP-[A-Z0-9]*' | head -n 1)",
        ("(table nat) of Service default/web lacks", "look at kube-proxy of node2"),
        (SERVER, OTHERS, *NODE1, *NETWORK)),
    "stale rules of a dead kube-proxy": Break(
        "node2", "kill -KILL KUBE_PROXY",
        (" of Service default/web ", "; node2 has no kube-proxy process", "look at kube-proxy of node2"),
        (SERVER, *NODE1, "no route", "is down", "web-1"), ("box", "node2"), deleted="web-1"),
    "kube-proxy's masquerading": Break("node2", "iptables -t nat -F KUBE-POSTROUTING", (
        "node2's chain KUBE-POSTROUTING (table nat) lacks", "look at kube-proxy of node2"),
        (SERVER, OTHERS, *NODE1, *NETWORK, "cali-nat-outgoing"), ("web-2",)),
    "Calico's masquerading": Break("node2", "iptables -t nat -F cali-nat-outgoing", (
        "node2's chain cali-nat-outgoing (table nat) lacks",), (PROXY, SERVER, OTHERS, *NODE1, *NETWORK)),
    # Settings
    "no forwarding": Break("node2", "ip netns exec nslab.LAB.box curl -so /dev/null WEB1:8080; "  # resolves its gateway
        "sysctl -qw net.ipv4.ip_forward=0", (
        "node2 has net.ipv4.ip_forward = 0", "it does not forward what came in meanwhile"),
        (PROXY, SERVER, OTHERS, *NODE1, *NETWORK)),
    "no forwarding of one interface": Break("node1", "sysctl -qw net.ipv4.conf.eth0.forwarding=0", (
        "node1 has net.ipv4.conf.eth0.forwarding = 0 instead of 1",),
        (PROXY, SERVER, OTHERS, *NODE2, *NETWORK), ("client", "node2")),
    "no answers to pings": Break("web-1", "sysctl -qw net.ipv4.icmp_echo_ignore_all=1", (
        "web-1 has net.ipv4.icmp_echo_ignore_all = 1 instead of 0", "it comes in at web-1's eth0"),
        (PROXY, SERVER, OTHERS, *NODE1, *NODE2, *NETWORK)),
    # Links
    "a pod's link": Break("web-2", "ip link set eth0 down", ("web-2's eth0 is down",),
        (PROXY, SERVER, OTHERS, *NODE1, "node2 has no")),
    "a pod's link on its node": Break("node2", "ip link set @WEB2 down", (" is down: ip -n nslab.LAB.node2",),
        (PROXY, SERVER, OTHERS, *NODE1, "web-2's eth0")),
    "tunnel down": Break("node2", "ip link set vxlan.calico down", ("node2's vxlan.calico is down",),
        (PROXY, SERVER, OTHERS, *NODE1, "node2 has no route", "FDB entry of")),
    "a node's link": Break("node2", "ip link set eth0 down", ("node2's eth0 is down",),
        (PROXY, SERVER, OTHERS, *NODE1, "vxlan.calico is down")),
    "port down": Break("switch", "ip link set node2 down", ("switch's node2 is down",),
        (PROXY, SERVER, OTHERS, *NODE1, "node2's eth0")),
    "port unplugged": Break("switch", "ip link set node2 nomaster", ("switch has no plug of node2 in bridge br0",),
        (PROXY, SERVER, OTHERS, *NODE1, "node2's eth0")),
    "port blocked": Break("switch", "bridge link set dev node2 state 0", ("switch's node2 has state 0 instead of 3",),
        (PROXY, SERVER, OTHERS, *NODE1, "node2's eth0", *NETWORK)),
    "a node's MTU": Break("node2", "ip link set eth0 mtu 1300", ("has MTU 1300 instead of 1500",),
        (PROXY, SERVER, OTHERS, *NETWORK)),
    "a pod's MTU": Break("web-2", "ip link set eth0 mtu 1000", ("has MTU 1000 instead of 1450",),
        (PROXY, SERVER, OTHERS, *NETWORK)),
    "tunnel's MTU": Break("node2", "ip link set vxlan.calico mtu 1200", (
        "node2's tunnel vxlan.calico has MTU 1200 instead of 1450", "too big for its next link"),
        (PROXY, SERVER, OTHERS, *NODE1, *NETWORK)),
    # Traffic control
    "slow queue": Break("node2", "tc qdisc add dev @BOX root tbf rate 8bit burst 10 limit 10", (
        "node2 has something that is not the lab's: qdisc tbf",), (PROXY, SERVER, *NODE1, *NETWORK)),
    "filter that redirects": Break(
        "node2", "ip link add hole type bridge; tc qdisc add dev @BOX clsact; "
        "tc filter add dev @BOX ingress u32 match u32 0 0 action mirred egress redirect dev hole", (
            "node2 has something that is not the lab's: filter u32", "coming in at node2's @BOX, never leaving node2"),
        (PROXY, SERVER, *NODE1, *NETWORK), needs=MIRRED),
    "filter that drops": Break(
        "node2", "tc qdisc add dev @BOX clsact; tc filter add dev @BOX ingress u32 match u32 0 0 action drop",
        ("node2 has something that is not the lab's: filter u32",), (PROXY, SERVER, *NODE1, *NETWORK), needs=GACT),
    "loss": Break("node2", "tc qdisc add dev @BOX root netem loss 100%", (
        "node2 has something that is not the lab's: qdisc netem",), (PROXY, SERVER, *NODE1, *NETWORK),
        needs=NETEM),
    # Addresses
    "a pod's address": Break("web-2", "ip addr del WEB2/32 dev eth0", ("web-2 has no address 20.96.0.65/32",),
        (PROXY, OTHERS, *NODE1, *NODE2, "is down")),
    "a node's address": Break("node2", "ip addr del 192.168.59.23/24 dev eth0", (
        "node2 has no address 192.168.59.23/24",), (PROXY, SERVER, OTHERS, *NODE1, "is down"), ("box", "web-1")),
    "an address twice": Break("box", "ip addr add WEB2/32 dev eth0", ("box has an address 20.96.0.65/32 on eth0",),
        (PROXY, SERVER, *NODE1, *NODE2, *NETWORK)),
    "an address twice, on another node": Break("web-1", "ip addr add WEB2/32 dev eth0", (
        "web-1 has an address 20.96.0.65/32 on eth0",), (PROXY, SERVER, *NODE1, *NODE2, *NETWORK)),
    "an address twice, and the route": Break(
        "node2", "ip route replace WEB2 dev @BOX; ip -n nslab.LAB.box addr add WEB2/32 dev eth0",
        ("node2's route to 20.96.0.65/32 leads through",), (PROXY, SERVER, *NODE1, "is down")),
    "a node's address twice": Break("client", "ip addr add 192.168.59.23/32 dev eth0", (
        "client has an address 192.168.59.23/32 on eth0",), (PROXY, SERVER, *NODE1, *NODE2, "is down"),
        ("client", "web-2", "node2")),
    # Processes
    "server that hangs": Break(
        "web-2", "kill -STOP $(ss -Htlnp 'sport = :8080' | grep -o 'pid=[0-9]*' | cut -d= -f2)",
        ("web-2's server on port 8080 takes connections, and hangs", "look at web-2"),
        (PROXY, SERVER, OTHERS, *NODE1, *NODE2, *NETWORK)),
}  # fmt: skip

BESIDE = (
    "prohibit", "iptables of a bridge", "no forwarding of one interface", "no answers to pings", "port blocked",
    "a node's address twice",
)  # fmt: skip
"""Breaks by what no packet of the lab needs. Of all others `probe` never says that it differs beside the way."""
