"""A whole lab in ipvs mode, into it and out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nslab.pytest_plugin.running import RunningLab

NODE_PORT, CLUSTER_IP = "192.168.59.23:31080", "10.103.9.116:8080"
MORE = """\
apiVersion: v1
kind: Service
metadata: {name: more}
spec: {type: NodePort, clusterIP: 10.103.9.117, selector: {app: web}, ports: [{port: 8080, nodePort: 31090}]}
"""


def is_served(lab: RunningLab) -> bool:
    return lab.client().http(f"{NODE_PORT}/hostname", timeout=10).text == "pod-b"


@pytest.mark.lab("calico-two-node", proxy_mode="ipvs")
def test_into_ipvs_mode_and_out_of_it(lab: RunningLab) -> None:
    assert lab.diff() == []
    assert f"-a -t {CLUSTER_IP} -r 20.111.156.7:8080 -m -w 1" in lab.sh("node1", "ipvsadm -Sn")
    assert is_served(lab)
    hairpin = lab.pod("pod-b").http(f"{CLUSTER_IP}/hostname", timeout=10)
    assert hairpin.text == "pod-b", "its own Service"

    lab.set(proxy_mode="iptables")
    assert lab.diff() == []
    assert lab.sh("node1", "ipvsadm -Sn") == ""
    assert "KUBE" not in lab.sh("node1", "ipset save")
    assert "kube-ipvs0" not in lab.sh("node1", "ip link")
    assert is_served(lab)

    lab.sh("node1", "iptables -t nat -F KUBE-SERVICES")  # as rules go wrong, so they come right in the other mode
    lab.set(proxy_mode="ipvs")
    assert lab.diff() == []
    assert is_served(lab)


@pytest.mark.lab("calico-two-node", proxy_mode="ipvs")
def test_a_tunnel_comes_and_goes_under_the_same_kube_proxy(lab: RunningLab) -> None:
    before = lab.processes()
    tunnel, own = "20.111.156.0", "192.168.59.22"
    assert f"{tunnel}:31080" in lab.sh("node1", "ipvsadm -Sn")
    lab.set(encapsulation="None")
    lab.apply(MORE)
    written = lab.sh("node1", "ipvsadm -Sn")
    assert (f"{own}:31090" in written, f"{tunnel}:" in written) == (True, False)
    assert lab.diff() == []
    lab.set(encapsulation="IPIP")
    lab.delete("service/more")
    written = lab.sh("node1", "ipvsadm -Sn")
    assert (f"{tunnel}:31080" in written, ":31090" in written) == (True, False)
    assert lab.diff() == []
    assert is_served(lab)
    after = lab.processes()
    assert all(after[f"{node} kube-proxy"] == before[f"{node} kube-proxy"] for node in ("node1", "node2"))
