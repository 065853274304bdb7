"""What `probe` says of a broken lab: it is broken in every way in turn, probed, and repaired.

Each break has the sentences that must come, and those that must not: nothing is blamed that was not looked at.
"""

from __future__ import annotations

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

import pytest

from nslab.admission.load import load
from nslab.app.causes import FOLLOWED
from nslab.app.change import delete
from nslab.app.down import down
from nslab.app.drift import drift_of
from nslab.app.probe import probe
from nslab.app.up import up
from nslab.compiler.placement import assign_addresses
from nslab.linux.observe.place import is_safe_to_ask
from nslab.probes.cause import CauseKind
from nslab.probes.verdict import squares, verdict
from nslab.views.service_matrix import four_cells
from tests.kernel.breaks import BESIDE, BREAKS
from tests.kernel.labkit import agnhosts, in_host, pids, with_addresses

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nslab.app.probe import Probed
    from nslab.lab.types import Lab
    from tests.kernel.breaks import Break

pytestmark = pytest.mark.root

LAB = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: evidence}
spec:
  cni: {plugin: calico, encapsulation: VXLAN}
  proxy: {mode: iptables}
  nodes: [{name: node1}, {name: node2}]
  clients: [{name: client}]
"""
SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  type: NodePort
  clusterIP: 10.96.1.1
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080, nodePort: 31080}]
"""
OUTSIDE = """\
---
apiVersion: v1
kind: Service
metadata: {name: db}
spec: {clusterIP: 10.96.1.2, ports: [{port: 5432}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: "", port: 5432}]
endpoints: [{addresses: [192.168.59.10]}]
"""
PODS = {"web-1": ("web", "node1"), "web-2": ("web", "node2"), "box": ("box", "node2")}
LABS = 7
"""So many equal labs are broken at a time, also behind the first tests: who probes what is broken mostly waits."""


def written(folder: Path, more: str = "", name: str = "evidence") -> Lab:
    """The lab, from a file."""
    file = folder / f"{name}.yaml"
    file.write_text(LAB.replace("evidence", name) + agnhosts(PODS) + SERVICE + more)
    return assign_addresses(load(file))


def filled(text: str, lab: Lab) -> str:
    """A text about any of the labs, for one of them (see tests.kernel.breaks)."""
    return with_addresses(lab, text).replace("LAB", lab.name)


def run(lab: Lab, host: str, line: str) -> None:
    """A command line in a host's network namespace."""
    in_host(lab, host, filled(line, lab).replace("KUBE_PROXY", str(pids(lab.name).get(f"{host} kube-proxy"))))


class Tried(NamedTuple):
    """What `probe` found of a broken lab, and of the same lab after `up --reset`."""

    lab: Lab
    broken: Probed
    repaired: Probed


class EqualLabs:
    """Equal labs, each for one at a time."""

    def __init__(self, made: list[Lab]) -> None:
        self._free: SimpleQueue[Lab] = SimpleQueue()
        for lab in made:
            self._free.put(lab)

    @contextmanager
    def one(self) -> Iterator[Lab]:
        """A lab that nobody else has meanwhile."""
        lab = self._free.get()
        try:
            yield lab
        finally:
            self._free.put(lab)

    def tried(self, broken: Break) -> Tried:
        """Break a lab, probe it, repair it, and probe it once more."""
        with self.one() as lab:
            try:
                run(lab, broken.host, broken.line)
                if broken.deleted:
                    delete(lab.name, [f"pod/{broken.deleted}"], grace=0)
                found = probe(lab.name, broken.sources)
            finally:
                up(lab, unwanted=drift_of(lab.name).others)
            return Tried(lab, found, probe(lab.name, broken.sources))


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EqualLabs]:
    folder = tmp_path_factory.mktemp("evidence")
    made = [written(folder, name=f"evidence{number}") for number in range(LABS)]
    for lab in made:
        up(lab)
    yield EqualLabs(made)
    for lab in made:
        down(lab.name)


@pytest.fixture
def lab(labs: EqualLabs) -> Iterator[Lab]:
    with labs.one() as free:
        yield free


@pytest.fixture(scope="module")
def tried(labs: EqualLabs, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Tried]]:
    """What came of a break. Those of the tests that were chosen are under way in all labs at once."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    names = [item.callspec.params["name"] for item in here if item.function is test_what_is_broken_is_found_by_evidence]
    with ThreadPoolExecutor(LABS) as pool:
        begun = {name: pool.submit(labs.tried, BREAKS[name]) for name in names if _possible(*BREAKS[name].needs)}

        def result(name: str) -> Tried:
            if name in names and name not in begun:
                pytest.skip(f"this kernel has no {BREAKS[name].needs[0]}")
            return (begun.get(name) or pool.submit(labs.tried, BREAKS[name])).result()

        yield result


def _possible(module: str, line: str) -> bool:
    """Whether the kernel can do this; a module that would be loaded is not asked for."""
    if module and not is_safe_to_ask(module):
        return False
    return subprocess.run(["unshare", "--net", "sh", "-ec", line], capture_output=True, check=False).returncode == 0


@pytest.mark.usefixtures("tried")
def test_an_endpoint_outside_that_refuses(tmp_path: Path) -> None:
    made = written(tmp_path, OUTSIDE, "outside")
    up(made)
    try:
        found = probe(made.name)
        assert said(found) == [
            "packets arrive at 192.168.59.10 (client), where nothing listens on port 5432",
        ]
        assert {call.service for call in found.reasons} == {"default/db"}
    finally:
        down(made.name)


@pytest.mark.usefixtures("tried")
def test_after_a_repair_no_old_connection_is_translated(lab: Lab) -> None:
    """Connections that were made while rules were missing stay in conntrack for up to two minutes."""
    run(lab, "node2", "iptables -t nat -F KUBE-SERVICES")
    assert not probe(lab.name, ["web-2", "box"]).good
    up(lab)
    assert drift_of(lab.name).plan == ()
    for _ in range(10):
        assert said(probe(lab.name, ["web-2", "box"])) == []


@pytest.mark.usefixtures("tried")
def test_of_many_failures_each_gets_a_cause_by_those_that_were_followed(tmp_path: Path) -> None:
    file = tmp_path / "many.yaml"
    file.write_text(
        LAB.replace("evidence", "many") + agnhosts({f"p{at}": ("x", f"node{at % 2 + 1}") for at in range(9)})
    )
    up(assign_addresses(load(file)))
    try:
        for role, pid in pids("many").items():
            if role.endswith("container/c"):
                os.kill(pid, signal.SIGSTOP)
        found = probe("many")
    finally:
        down("many")
    assert len({one.probe.pair for one in found.results if one.wrong}) > FOLLOWED
    whom = {(one.source, one.target): cause.sentence for one, cause in found.explanations.items()}
    assert {pair: text for pair, text in whom.items() if f"{pair[1]}'s server on port 8080 takes" not in text} == {}
    assert sum(text.startswith("not followed; of ") for text in whom.values()) == len(whom) - FOLLOWED


TRIED = [name for number, name in enumerate(BREAKS) if number % 5 == 0 or os.environ.get("NSLAB_SLOW")]
"""One in five; with NSLAB_SLOW set, all."""


@pytest.mark.parametrize("name", TRIED)
def test_what_is_broken_is_found_by_evidence(tried: Callable[[str], Tried], name: str) -> None:
    lab, found, repaired = tried(name)
    assert not found.good
    everything = [*said(found), *verdicts(found)]
    for sentence in BREAKS[name].says:
        assert any(filled(sentence, lab) in one for one in everything), everything
    blamed = [*(cause.sentence for cause in found.causes.values()), *verdicts(found)]
    beside = () if name in BESIDE else ("what differs on the way",)
    for subject in (*BREAKS[name].never, *beside, "own doing", "no cause was found"):
        assert [one for one in blamed if subject in one.removesuffix(", not at kube-proxy")] == [], subject
    assert all(cause.kind is not CauseKind.NOTHING for cause in found.causes.values()), blamed
    assert (repaired.good, said(repaired)) == (True, []), "what was repaired is right at once"


def said(found: Probed) -> list[str]:
    """Every explanation, once."""
    return list(dict.fromkeys(map(str, found.causes.values())))


def verdicts(found: Probed) -> list[str]:
    """What the four cells come to."""
    return [*map(verdict, squares(found.survey.places, found.results, found.calls, found.causes))]


def test_a_missing_route_does_not_land_in_the_row_of_the_same_node(tried: Callable[[str], Tried]) -> None:
    found = tried("no block route").broken
    rows = four_cells(found.survey.places, found.results, found.calls, found.causes)
    assert [row for row in rows if row.startswith("same node") and "FAIL" in row] == []
    assert sum(row.startswith("other node") and "FAIL" in row for row in rows) == 2


@pytest.mark.skipif(not os.environ.get("NSLAB_SLOW"), reason="a hundred pods, probed twenty times: NSLAB_SLOW=1")
def test_a_healthy_lab_of_a_hundred_pods_with_dns_is_right_each_time(tmp_path: Path) -> None:
    file = tmp_path / "crowd.yaml"
    pods = agnhosts({f"p{number}": ("web" if number < 3 else "x", "NODE") for number in range(100)})
    text = LAB.replace("evidence", "crowd").replace("  clients:", "  dns: {address: 10.96.0.10}\n  clients:")
    file.write_text(text + pods.replace("  nodeName: NODE\n", "") + SERVICE)
    up(assign_addresses(load(file)))
    try:
        found = [probe("crowd") for _ in range(20)]
    finally:
        down("crowd")
    assert [said(one) for one in found if not one.good] == []
    assert any(call.call.name for call in found[0].calls), "names are asked, too"
