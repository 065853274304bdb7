"""`up` that is refused or stopped anywhere takes everything back; killed anywhere, `down` does."""

from __future__ import annotations

import errno
import json
import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from nslab.app.drift import drift_of
from nslab.app.up import up
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.errors import Refused
from nslab.lab.status import merge_status
from nslab.linux import kernel
from nslab.linux.netns import Namespaces
from nslab.linux.observe.host import read_host
from nslab.linux.owned import claim
from nslab.linux.processes import agents
from nslab.linux.rules import restore
from nslab.objects.plan import Plan, Step, diff, transactions
from nslab.wire import netlink as wire
from tests import prefork
from tests.kernel.labkit import NAMESPACES, NSLAB, ROOT, OwnLab, nslab
from tests.slow import SLOW, often

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tests.kernel.conftest import Fingerprint

pytestmark = pytest.mark.root


@pytest.fixture
def own(tmp_path: Path, fingerprint: Callable[[], Fingerprint]) -> Iterator[OwnLab]:
    """calico-two-node under a name of its own; at the end nothing of it may be left."""
    lab, before = OwnLab(tmp_path), fingerprint()
    try:
        yield lab
    finally:
        lab.clear()
    assert lab.left() == []
    assert fingerprint().since(before) == []


def attempt(own: OwnLab) -> None:
    up(own.lab())


def plan_of(own: OwnLab) -> Plan:
    with Namespaces() as spaces:
        return diff((), compile_lab(own.lab(), read_host(spaces)))


class Refusals:
    """Lets the kernel refuse one step, once: by asking it, in the step's place, for what cannot be."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.victim: Step | None = None
        self._wrap(patch, kernel.LinuxKernel, "_one_by_one", self._one_by_one)
        self._wrap(patch, kernel, "_encode", self._encode)
        self._wrap(patch, restore, "_feed", self._feed)
        self._wrap(patch, agents, "_requests", self._requests)
        self._wrap(patch, agents.Agents, "_begin", self._begin)

    def _wrap(self, patch: pytest.MonkeyPatch, owner: object, name: str, way: Callable[..., Any]) -> None:
        original = getattr(owner, name)
        patch.setattr(owner, name, lambda *arguments: way(original, *arguments))

    def _hits(self, *steps: Step) -> bool:
        if self.victim not in steps:
            return False
        self.victim = None
        return True

    def _one_by_one(self, original: Any, self_: Any, transaction: Any, do: Callable[[Step], None]) -> None:
        def done(step: Step) -> None:
            if self._hits(step):
                raise OSError(errno.EPERM, "refused by the test")
            do(step)

        original(self_, transaction, done)

    def _encode(self, original: Any, step: Step, indexes: Any) -> list[tuple[str, bytes]]:
        output = original(step, indexes)
        return (
            [(output[0][0], wire.message(wire.DELLINK, 0, wire.link_header(1 << 30)))] if self._hits(step) else output
        )

    def _feed(self, original: Any, argv: list[str], text: str, steps: Sequence[Step]) -> None:
        place = steps.index(self.victim) if self.victim in steps else 0
        if self._hits(*steps):
            lines = text.splitlines()
            # Sets are a line each; of a table, the last line but one is somebody's.
            lines.insert(place if argv[0] == "ipset" else len(lines) - 1, "nonsense")
            text = "\n".join(lines) + "\n"
        original(argv, text, steps)

    def _requests(self, original: Any, step: Step) -> Iterator[dict[str, Any]]:
        yield from [{"op": "nonsense"}] if self._hits(step) else original(step)

    def _begin(self, original: Any, self_: Any, step: Step, *arguments: Any) -> Any:
        return "refused by the test" if self._hits(step) else original(self_, step, *arguments)


def victims(plan: Plan) -> list[Step]:
    """Every process; of each other transaction the first and the last step, and a sample of those between.

    The kernel takes a transaction as one: which of its steps it does not like makes no great difference. One in three
    of all these; with NSLAB_SLOW set, all.
    """
    cuts = transactions(plan)
    ends = [step for cut in cuts for step in (cut.steps if cut.unit == "process" else (cut.steps[0], cut.steps[-1]))]
    between = [step for cut in cuts if cut.unit != "process" for step in cut.steps[1:-1]]
    chosen = {*ends, *random.Random(3).sample(between, 20)}
    found = [step for step in plan if step in chosen]
    return found if SLOW else found[::3]


def test_every_transaction_refused_in_turn(own: OwnLab, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = Refusals(monkeypatch)
    for number, step in enumerate(victims(plan_of(own))):
        refusals.victim = step
        with pytest.raises(Refused) as refused:
            attempt(own)
        assert "\n" not in str(refused.value)
        assert own.left() == [], f"step {number}: {refused.value}"
    assert "is not there" in own.down()


def test_a_refused_up_takes_away_what_one_had_left_that_was_killed_at_once(
    own: OwnLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(own.name)
    Refusals(monkeypatch).victim = plan_of(own)[0]
    with pytest.raises(Refused):
        attempt(own)
    assert own.left() == []


def test_a_refused_change_leaves_the_lab_as_it_was(own: OwnLab, monkeypatch: pytest.MonkeyPatch) -> None:
    own.up_here()
    before = own.pids()
    refusals = Refusals(monkeypatch)
    old = own.file.read_text()
    own.edit("  - {name: client, address: 192.168.59.10}", "  - {name: other, address: 192.168.59.11}")
    own.edit("20.109.131.3", "20.109.131.9")
    now = drift_of(own.name)
    want = compile_lab(assign_addresses(merge_status(own.lab(), now.lab)), now.host)
    for cut in transactions(diff(now.want, want)):
        refusals.victim = cut.steps[-1]
        with pytest.raises(Refused):
            attempt(own)
        assert own.differences() == []
    own.write(old)
    assert {name: pid for name, pid in own.pids().items() if "pod-d" not in name and "client" not in name} == {
        name: pid for name, pid in before.items() if "pod-d" not in name and "client" not in name
    }


def test_containers_that_do_not_answer_in_time_stop_nothing(own: OwnLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise Refused("wait for the containers", "refused by the test")

    monkeypatch.setattr(agents.Agents, "wait_ready", broken)
    with pytest.raises(Refused, match="wait for the containers"):
        attempt(own)
    assert own.left() == []


# nslab, but a signal comes before transaction N (or, if there is none, when all is done): argv is N, signal, arguments.
STOPPED_AT = """
import os, sys
from nslab.cli.app import main
from nslab.linux.kernel import LinuxKernel
place, number = int(sys.argv[1]), int(sys.argv[2])
run, wait_until_up = LinuxKernel.run, LinuxKernel.wait_until_up
def counted(self, transaction):
    global place
    place -= 1
    if place == -1:
        os.kill(os.getpid(), number)
    run(self, transaction)
def settled(self):
    if place >= 0:
        os.kill(os.getpid(), number)
    wait_until_up(self)
LinuxKernel.run, LinuxKernel.wait_until_up = counted, settled
main(sys.argv[3:])
"""


def stopped_at(place: int, number: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    argv = [*prefork.python(), "-c", STOPPED_AT, str(place), str(number), *map(str, arguments)]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=ROOT)


def spread(own: OwnLab, count: int) -> list[int]:
    """So many transactions of an `up`, the first and the one after the last among them."""
    last = len(transactions(plan_of(own)))
    return [round(place * last / (count - 1)) for place in range(count)]


def test_killed_at_places(own: OwnLab) -> None:
    for place in spread(own, often(20)):
        assert stopped_at(place, signal.SIGKILL, "up", own.file).returncode == -signal.SIGKILL
        own.down()
        assert own.left() == [], f"before transaction {place}"


@pytest.mark.parametrize(
    ("number", "status", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_stopped_at_places_takes_back_by_itself(own: OwnLab, number: int, status: int, word: str) -> None:
    for place in spread(own, 7 if SLOW else 4):
        done = stopped_at(place, number, "up", own.file)
        assert (done.returncode, done.stdout, done.stderr) == (status, "", f"nslab: {word}\n")
        assert own.left() == [], f"before transaction {place}"


def test_killed_at_any_time(own: OwnLab) -> None:
    for seconds in times(8 if SLOW else 4, seed=1):
        killed = subprocess.Popen([sys.executable, "-m", "nslab", "up", own.file], cwd=ROOT, stdout=subprocess.DEVNULL)
        ended_after(killed, seconds, signal.SIGKILL)
        own.down()
        assert own.left() == [], f"after {seconds} s"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_at_any_time(own: OwnLab, number: int) -> None:
    for seconds in times(8 if SLOW else 4, seed=number):
        argv = [*NSLAB, "up", own.file]
        stopped = subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        ended_after(stopped, seconds, number)
        _, output = stopped.communicate()
        if stopped.returncode == 0:  # it came too late
            own.down()
        else:
            # Until it reads our first line, to say how it ends, the traceback and the status are Python's.
            before_ours = "init_import_site" in output or "Could not import runpy module" in output
            assert stopped.returncode in (-number, 128 + number) or before_ours
            assert output.count("\n") <= 1 or (number == signal.SIGINT and "/cli/" not in output), output
        assert own.left() == [], f"after {seconds} s"


def times(count: int, seed: int) -> list[float]:
    chance = random.Random(seed)
    return [chance.uniform(0.02, 0.6) for _ in range(count)]


def ended_after(process: subprocess.Popen[Any], seconds: float, number: int) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
    if number == signal.SIGKILL:
        process.wait()


def test_a_second_signal_changes_nothing(own: OwnLab) -> None:
    argv = [sys.executable, "-c", STOPPED_AT, "40", str(int(signal.SIGINT)), "up", own.file]
    with subprocess.Popen(argv, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as stopped:
        while stopped.poll() is None:
            stopped.send_signal(signal.SIGTERM if own.left() else 0)
        _, output = stopped.communicate()
    assert output in ("nslab: interrupted\n", "nslab: terminated\n")
    assert own.left() == []


def test_killed_in_the_middle_of_a_change(own: OwnLab) -> None:
    old = own.file.read_text()
    own.edit("20.109.131.3", "20.109.131.9")
    own.edit("  - {name: client, address: 192.168.59.10}", "  - {name: other, address: 192.168.59.11}")
    new = own.file.read_text()
    for place in (0, 3, 8, 14, 20) if SLOW else (3, 8, 20):
        own.write(old)
        own.up()
        own.write(new)
        assert stopped_at(place, signal.SIGKILL, "up", own.file).returncode == -signal.SIGKILL
        if place % 2:
            own.up()
            assert own.differences() == []
            assert own.talks("pod-a", "20.109.131.9")
            assert own.talks("other", "192.168.59.23", 1) is False
        own.down()
        assert own.left() == [], f"before transaction {place}"


LAST = 99
"""Behind every transaction."""


PLACES = [(LAST, 0), (8, 8), (LAST, LAST)]


@pytest.mark.parametrize("places", [(0, 0), (8, 0), *PLACES] if SLOW else PLACES)
def test_two_changes_killed_one_after_the_other(own: OwnLab, places: tuple[int, int]) -> None:
    """Something of each may be there."""
    own.up()
    own.edit("mode: iptables", "mode: nftables")
    own.edit("encapsulation: IPIP", "encapsulation: VXLAN")
    assert stopped_at(places[0], signal.SIGKILL, "up", own.file).returncode == -signal.SIGKILL
    own.edit("mode: nftables", "mode: iptables")
    own.edit("encapsulation: VXLAN", "encapsulation: None")
    assert stopped_at(places[1], signal.SIGKILL, "up", own.file).returncode == -signal.SIGKILL
    own.up()
    found = json.loads(nslab("diff", own.name, "-o", "json").stdout)
    assert (found["differences"], found["unmanaged"]) == ([], {})


def test_a_process_that_a_killed_change_started_does_not_stay(own: OwnLab) -> None:
    """Nobody sees as what it was started: as the last change wants it, as the first did, or as the one between."""
    own.up()
    own.edit("mode: iptables", "mode: nftables")
    assert stopped_at(LAST, signal.SIGKILL, "up", own.file).returncode == -signal.SIGKILL
    between = own.pids()["node1 kube-proxy"]
    own.edit("mode: nftables", "mode: iptables")
    own.edit("20.109.131.3", "20.109.131.9")
    assert stopped_at(0, signal.SIGKILL, "up", own.file).returncode == -signal.SIGKILL
    own.up()
    assert own.pids()["node1 kube-proxy"] != between


def test_stopped_in_the_middle_of_a_change_goes_back(own: OwnLab) -> None:
    own.up()
    before = own.pids()
    own.edit("  - {name: client, address: 192.168.59.10}\n", "")
    own.edit("20.109.131.3", "20.109.131.9")
    for place in (0, 2, 5, 9, LAST) if SLOW else (2, 9, LAST):
        assert stopped_at(place, signal.SIGINT, "up", own.file).returncode == 130
        assert own.differences() == []
    kept = {name: pid for name, pid in own.pids().items() if "pod-d" not in name and "client" not in name}
    assert kept.items() <= before.items()
    assert own.talks("pod-a", "20.109.131.3")


def test_down_counts_what_a_script_made(own: OwnLab) -> None:
    """The script of `nslab plan` makes namespaces with `ip netns`, and no folder of a lab."""
    script = nslab("plan", "--script", own.file).stdout
    made = [line for line in script.splitlines() if line.startswith("ip netns add")]
    subprocess.run(["bash", "-ec", "\n".join(made)], check=True)
    subprocess.run(["ip", "netns", "exec", own.ns("node1"), "sh", "-c", "sleep 60 &"], check=True)
    assert own.down() == f"{own.name} is down: {NAMESPACES} namespaces and 1 processes ended\n"
