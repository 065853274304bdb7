"""What this lab shows: names and their records, two namespaces, and a name server that is itself a Service."""

import pytest

pytestmark = pytest.mark.lab("lab.yaml", scope="module")


def dig(pod, *words):
    """What `dig +short` says, line by line, sorted."""
    return sorted(pod.run("dig", "+short", "+search", "+tries=1", *words).stdout.splitlines())


def test_everybody_reaches_whom_they_should(lab):
    """All pairs, and each Service by its address and by its name."""
    lab.probe()


def test_a_short_name_is_the_own_namespaces(lab):
    """The search list begins with the pod's own namespace."""
    assert lab.pod("box").http("web/hostname").text.startswith("web-")
    assert lab.pod("shop/till").http("web/hostname").text == "goods"
    assert lab.pod("box").http("web.shop/hostname").text == "goods"


def test_each_kind_of_record(lab):
    """A, of a headless Service as many as it has pods; SRV; PTR; CNAME."""
    box, pods = lab.pod("box"), sorted(str(pod.address) for pod in lab.pods(app="web"))
    assert dig(box, "web") == ["10.103.9.116"]
    assert dig(box, "peers") == pods
    assert dig(box, "SRV", "_http._tcp.web.default.svc") == ["0 100 80 web.default.svc.cluster.local."]
    assert dig(box, "-x", "10.103.9.120") == ["web.shop.svc.cluster.local."]
    assert dig(box, "bank") == ["api.example.com."]
    assert dig(box, "nosuch") == []


def test_records_follow_the_pods(lab):
    """One replica, one address; the ClusterIP stays."""
    lab.scale("web", 1)
    assert dig(lab.pod("box"), "peers") == [str(pod.address) for pod in lab.pods(app="web")]
    assert dig(lab.pod("box"), "web") == ["10.103.9.116"]
    lab.scale("web", 3)
