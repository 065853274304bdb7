"""What this lab is: bare nodes at first; each step of a way through it reaches its goal, and no other than its goal."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml")

GOALS = ["neighbours", "node", "way-out", "second-node", "across", "outside", "calico"]


def test_bare_nodes_reach_no_goal(lab):
    """Pods have loopback alone, and nodes forward nothing."""
    assert not any(lab.check().values())
    assert [link["ifname"] for link in lab.pod("pod-a").json("ip", "-j", "link", "show", "up")] == ["lo"]
    assert lab.node("node1").run("sysctl", "-n", "net.ipv4.ip_forward").stdout == "0\n"
    assert lab.diff() == []


def test_a_bridge_on_each_node(lab):
    """The way of the guide."""
    node1, node2 = lab.node("node1"), lab.node("node2")
    bridge(node1, {"a": "20.96.1.2", "b": "20.96.1.3"})
    assert reached(lab) == GOALS[:1]
    types(node1, "ip addr add 20.96.1.1/24 dev cni0")
    assert reached(lab) == GOALS[:2]
    types(node1, "ip -n pod-a route add default via 20.96.1.1; ip -n pod-b route add default via 20.96.1.1")
    assert reached(lab) == GOALS[:3]
    bridge(node2, {"c": "20.96.2.2", "d": "20.96.2.3"})
    types(node2, "ip addr add 20.96.2.1/24 dev cni0")
    types(node2, "ip -n pod-c route add default via 20.96.2.1; ip -n pod-d route add default via 20.96.2.1")
    assert reached(lab) == GOALS[:4]
    routes_and_forwarding(node1, node2)
    assert reached(lab) == GOALS[:5]
    masquerade(node1, node2)
    assert reached(lab) == GOALS[:6]
    lab.probe()
    calico_way(node1, "b", "20.96.1.3")
    types(node1, "sysctl -qw net.ipv4.neigh.cni0.proxy_delay=0 net.ipv4.conf.cni0.proxy_arp=1")
    types(node1, "ip -n pod-a neigh flush dev eth0")
    assert reached(lab) == GOALS


def test_no_bridge_at_all(lab):
    """Another way, as good: every Pod as Calico has it."""
    node1, node2 = lab.node("node1"), lab.node("node2")
    routes_and_forwarding(node1, node2)
    for node, pods in ((node1, {"a": "20.96.1.2", "b": "20.96.1.3"}), (node2, {"c": "20.96.2.2", "d": "20.96.2.3"})):
        for letter, address in pods.items():
            types(node, f"ip link add veth-{letter} type veth peer name eth0 netns pod-{letter}")
            types(node, f"ip link set veth-{letter} up; ip -n pod-{letter} link set eth0 up")
            calico_way(node, letter, address)
    masquerade(node1, node2)
    assert reached(lab) == GOALS
    lab.probe()


def types(node, script):
    """What somebody types in a shell of a node."""
    node.run("sh", "-ec", script)


def reached(lab):
    """The goals that are reached."""
    return [goal for goal, there in lab.check().items() if there]


def bridge(node, pods):
    """A switch, and a cable to each Pod."""
    types(node, "ip link add cni0 type bridge; ip link set cni0 up")
    for letter, address in pods.items():
        types(node, f"ip link add veth-{letter} type veth peer name eth0 netns pod-{letter}")
        types(node, f"ip link set veth-{letter} master cni0 up")
        types(node, f"ip -n pod-{letter} addr add {address}/24 dev eth0; ip -n pod-{letter} link set eth0 up")


def routes_and_forwarding(node1, node2):
    """The other node's range, and permission to pass on."""
    for node, network, via in ((node1, "20.96.2.0/24", node2.address), (node2, "20.96.1.0/24", node1.address)):
        types(node, f"ip route add {network} via {via}; sysctl -qw net.ipv4.ip_forward=1")


def masquerade(node1, node2):
    """What leaves the cluster takes its node's address."""
    for node, network in ((node1, "20.96.1.0/24"), (node2, "20.96.2.0/24")):
        types(node, f"iptables -t nat -A POSTROUTING -s {network} ! -d 20.96.0.0/12 -j MASQUERADE")


def calico_way(node, letter, address):
    """A /32, a next hop that nobody has, and the node that answers for it."""
    pod, cable = f"pod-{letter}", f"veth-{letter}"
    types(node, f"ip link set {cable} nomaster; ip -n {pod} addr flush dev eth0")
    types(node, f"ip -n {pod} addr add {address}/32 dev eth0; ip -n {pod} route add 169.254.1.1 dev eth0 scope link")
    types(node, f"ip -n {pod} route add default via 169.254.1.1; ip route add {address}/32 dev {cable}")
    types(node, f"sysctl -qw net.ipv4.neigh.{cable}.proxy_delay=0 net.ipv4.conf.{cable}.proxy_arp=1")
