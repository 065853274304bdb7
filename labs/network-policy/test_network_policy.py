"""What this lab shows: whom NetworkPolicies admit, by label, namespace and address, and what NAT does to an address."""

import json

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")

DB, WEB, CLIENT = {"app": "db"}, {"app": "web"}, "192.168.59.10/32"
KUBE_SYSTEM = {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}


def test_without_a_policy_everybody_reaches_everybody(lab):
    """The profile of the namespace accepts."""
    lab.probe()
    assert "cali-pri-kns.default" in into_db(lab)


def test_default_deny_drops_what_no_policy_accepts(lab):
    """Other nodes included, but not the Pod's own."""
    lab.apply(policy("default-deny", {}, policyTypes=["Ingress"]))
    assert "End of tier default" in into_db(lab)
    assert reached(lab, "box", "web", "monitoring/scraper", "node1", "node2") == ["node1"]


def test_a_label_is_a_set_of_addresses(lab):
    """By the Service, too: the rule sees the database's own address."""
    lab.apply(policy("db-from-web", DB, ingress=[{"from": [{"podSelector": {"matchLabels": WEB}}]}]))
    assert reached(lab, "box", "web") == ["web"]
    assert lab.pod("web").http("db:8080/hostname").text == "db"
    assert f"\n{lab.pod('web').address}\n" in lab.node("node1").run("ipset", "list").stdout


def test_a_namespace_by_its_labels(lab):
    """Both selectors of one peer must match."""
    peer = {"namespaceSelector": {"matchLabels": {"team": "ops"}}, "podSelector": {"matchLabels": {"app": "scraper"}}}
    lab.apply(policy("db-from-ops", DB, ingress=[{"from": [peer]}]))
    assert reached(lab, "box", "web", "monitoring/scraper") == ["web", "monitoring/scraper"]


def test_egress_without_dns_finds_no_names(lab):
    """The database's address is reached, and its name once the question is allowed."""
    to_db = {"to": [{"podSelector": {"matchLabels": DB}}]}
    dns = {"to": [{"namespaceSelector": KUBE_SYSTEM}], "ports": [{"port": 53, "protocol": "UDP"}]}
    lab.apply(policy("web-to-db", WEB, policyTypes=["Egress"], egress=[to_db]))
    asks = ("curl", "-s", "-m", "0.5", "http://db:8080/hostname")
    assert lab.pod("web").run(*asks, check=False).stdout == ""
    assert reached(lab, "web") == ["web"]
    lab.apply(policy("web-to-db", WEB, policyTypes=["Egress"], egress=[to_db, dns]))
    assert lab.pod("web").run(*asks).stdout == "db"


def test_a_block_sees_the_address_that_nat_leaves(lab):
    """The client by db's own node, the tunnel's address by the other one, which `Local` prevents."""
    lab.apply(policy("db-from-client", DB, ingress=[{"from": [{"ipBlock": {"cidr": CLIENT}}]}]))
    client, nodes = lab.client(), (lab.node("node1"), lab.node("node2"))
    assert [bool(client.connect(node.address, 31080, timeout=0.5)) for node in nodes] == [True, False]
    lost = lab.trace("client", "node2:31080")
    assert (lost.hops[-1].host, str(lost.hops[-1].header.source)) == ("node1", "20.109.131.0")
    lab.probe()


def policy(name, labels, **spec):
    """A NetworkPolicy of namespace default that selects Pods by labels; JSON is YAML, too."""
    document = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}}
    return json.dumps({**document, "spec": {"podSelector": {"matchLabels": labels}, **spec}}, indent=1)


def into_db(lab):
    """The rules for packets to the database."""
    (port,) = lab.node("node1").json("ip", "-j", "route", "get", str(lab.pod("db").address))
    return lab.node("node1").run("iptables", "-S", f"cali-tw-{port['dev']}").stdout


def reached(lab, *callers):
    """Those of the callers whose connection the database accepts."""
    nodes = {"node1", "node2"}
    return [
        name
        for name in callers
        if (lab.node if name in nodes else lab.pod)(name).connect(lab.pod("db"), 8080, timeout=0.5)
    ]
