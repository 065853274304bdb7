"""Our kubenet beside the real plugins: bridge and host-local with the configuration that kubenet itself gave them.

Two labs alike, one made by nslab, one by the plugins; all that `ip`, `iptables-save` and /proc/sys say of a node and of
its pods is compared. What differs stands in `KNOWN`, with its reason; anything else fails.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.kernel.cnikit import MARKS
from tests.kernel.labkit import OwnLab, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = MARKS

# NET_CONFIG_TEMPLATE of the kubelet (pkg/kubelet/dockershim/network/kubenet/kubenet_linux.go, until 1.23).
TEMPLATE = {
    "cniVersion": "0.1.0",
    "name": "kubenet",
    "type": "bridge",
    "bridge": "cbr0",
    "mtu": 1500,
    "addIf": "eth0",
    "isGateway": True,
    "ipMasq": False,
    "hairpinMode": True,
    "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "{{ node.podCIDR }}"}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    },
}
KNOWN = {
    "PORT txqlen: 1000 / none": "the plugins' netlink library asks for a queue of length 0; a cable has none anyway",
    "eth0 txqlen: 1000 / none": "the same at the pod's end",
    "PORT ipv6/conf/accept_ra: 1 / 0": "bridge does not let pods advertise themselves as IPv6 routers to the node",
    "cbr0 ipv6/conf/accept_ra: 1 / 0": "the same; there are no IPv6 routers here",
    "eth0 ipv4/conf/arp_notify: 0 / 1": "bridge has a pod's coming announced by ARP, to who remembers another there",
    "eth0 ipv6/conf/accept_dad: 1 / 0": "hairpin echoes a pod's own question for its IPv6 address; bridge: not asked",
    "ipv6/conf/default/dad_transmits: 0 / 1": "the kubelet's way to the same (disableContainerDAD), and so ours",
    "POSTROUTING comment: kubenet / ip-masq-agent": "kubenet's own rule; beside plugins it is somebody else's",
}
HOSTS = ("node1", "pod-a", "pod-b")
CHANCE = re.compile("stable_secret|/(temp_|use_temp)|address_gen")


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[OwnLab, OwnLab]]:
    """kubenet-two-node twice: by nslab, and by the plugins."""
    folder = tmp_path_factory.mktemp("compared")
    ours, theirs = OwnLab(folder, "kubenet-two-node"), OwnLab(folder, "kubenet-two-node")
    (folder / "kubenet.conf").write_text(json.dumps(TEMPLATE))
    try:
        ours.up()
        done = nslab("cni", theirs.file, "--conf", folder / "kubenet.conf")
        assert done.returncode == 0, done.stderr
        yield ours, theirs
    finally:
        nslab("down", ours.name)
        nslab("down", theirs.name)
    assert (ours.left(), theirs.left()) == ([], [])


def facts(lab: OwnLab, host: str) -> dict[str, str]:
    """What a host's kernel says, by what is said; every cable's end in a node is PORT, for its name is drawn."""
    output: dict[str, str] = {}
    for link in json.loads(lab.sh(host, "ip -j -d addr")):
        info, name = link.get("linkinfo", {}), port(link["ifname"])
        for key in ("mtu", "qdisc", "operstate", "master", "promiscuity", "group"):
            output[f"{name} {key}"] = str(link.get(key))
        output[f"{name} txqlen"] = str(link.get("txqlen", "none"))
        output[f"{name} kind"] = str(info.get("info_kind"))
        output[f"{name} flags"] = " ".join(sorted(link["flags"]))
        data = {**info.get("info_data", {}), **info.get("info_slave_data", {})}
        output |= {f"{name} {key}": str(data[key]) for key in SETTINGS & data.keys()}
        addresses = [entry for entry in link["addr_info"] if entry["family"] == "inet"]
        output[f"{name} addresses"] = " ".join(
            f"{entry['local']}/{entry['prefixlen']} brd {entry.get('broadcast')} {entry['scope']}"
            for entry in addresses
        )
    for route in json.loads(lab.sh(host, "ip -j route")):
        output[f"route {route['dst']}"] = " ".join(
            f"{key} {route.get(key)}" for key in ("gateway", "dev", "scope", "prefsrc")
        )
    rules = lab.sh(host, "iptables-save -t nat; iptables-save -t filter; iptables-save -t mangle")
    for line in rules.splitlines():
        if line.startswith("-A") and "KUBE-" not in line:
            chain, comment = line.split()[1], re.search(r'"(\S+): ', line)
            output[f"{chain} comment"] = comment[1] if comment else ""
            output[f"{chain} rules"] = output.get(f"{chain} rules", "") + re.sub(r'--comment "[^"]*"', "", line)
    for line in lab.sh(host, "cd /proc/sys/net && grep -rs . ipv4 ipv6 bridge || true").splitlines():
        path, _, value = line.partition(":")
        if not CHANCE.search(path):
            output[setting(path)] = value
    return output


def setting(path: str) -> str:
    """A sysctl's path; of an interface's own, its name before the rest."""
    own = re.fullmatch(r"(ipv./(?:conf|neigh))/(?!default/|all/)([^/]+)/(\w+)", path)
    return f"{port(own[2])} {own[1]}/{own[3]}" if own else path


SETTINGS = {"hairpin", "learning", "flood", "isolated", "state", "stp_state", "vlan_filtering", "ageing_time",
            "mcast_snooping", "forward_delay"}  # fmt: skip


def port(name: str) -> str:
    return re.sub(r"^veth[0-9a-f]{8}$", "PORT", name)


def test_what_bridge_makes_is_what_our_kubenet_makes(labs: tuple[OwnLab, OwnLab]) -> None:
    found = set()
    for host in HOSTS:
        ours, theirs = (facts(lab, host) for lab in labs)
        assert len(ours) > 300
        for key in sorted({*ours, *theirs}):
            if ours.get(key) != theirs.get(key):
                found.add(f"{key}: {ours.get(key)} / {theirs.get(key)}")
    assert found == {*KNOWN}


def test_both_hand_out_the_same_addresses_and_carry_the_same_packets(labs: tuple[OwnLab, OwnLab]) -> None:
    output = []
    for lab in labs:
        assert nslab("probe", lab.name).returncode == 0
        output.append(
            [lab.sh(pod, "ip -br -4 addr show eth0").split()[2] for pod in ("pod-a", "pod-b", "pod-c", "pod-d")]
        )
    assert output[0] == output[1]
