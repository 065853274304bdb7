"""nftables mode in the kernel: nft takes every text, increments end where a fresh write does, the fake is true."""

from __future__ import annotations

import contextlib
import os
import random
import re
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from dumps import real

from nslab.compiler.items import objects
from nslab.errors import Refused
from nslab.linux.netns import Namespaces
from nslab.linux.observe.nft import tables
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.namespaces import Netns
from nslab.objects.nft import NftChain, NftSet, NftTable
from nslab.objects.nft_commands import nft_restore
from nslab.objects.plan import Add, Plan, Remove, Replace, Step, diff, invert, transactions
from nslab.objects.script import commands
from nslab.proxy import nftables
from nslab.proxy.mode import whole
from nslab.proxy.model import Endpoint, Port, Proxy, ServiceInfo
from tests.unit.proxy.cases import REAL, overall, services

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from nslab.objects.base import KernelObject, State
    from nslab.ruletext.items import Items

CASES = [*sorted((REAL / "cases").glob("*.yaml")), *sorted((REAL / "current").glob("*.yaml"))]
NODE = Proxy("n1", ("192.168.0.2",), "nftables", cluster_cidr="10.0.0.0/8", service_cidr="172.30.0.0/16")
LAB = f"nft{os.getpid()}"
NS = f"nslab.{LAB}.n1"


@contextlib.contextmanager
def namespace() -> Iterator[int]:
    """A network namespace, by the number of a process in it."""
    argv = ["unshare", "--net", "sh", "-c", "echo there; exec sleep infinity"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout
            assert holder.stdout.readline() == "there\n"
            yield holder.pid
        finally:
            holder.kill()


def nft(pid: int, *arguments: str, text: str = "") -> str:
    """What nft says in the namespace of a process."""
    argv = ["nsenter", f"--net=/proc/{pid}/ns/net", "nft", *arguments]
    done = subprocess.run(argv, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def sync(pid: int, old: Items, new: Items, proxy: Proxy = NODE) -> None:
    for command in nftables.commands(old, new, proxy):
        nft(pid, *command.argv[1:], text=command.text)


def listed(text: str) -> list[str]:
    """A listing by its blocks, which nft has in the order of their making, and so has the elements of a set."""
    found = re.findall(r"^\t(set|map|chain) (\S+) \{\n(.*?)^\t\}$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(found) == text.count("\n\t}")
    tables = [line for line in text.splitlines() if line.startswith(("table", "\tcomment"))]
    return [
        *tables,
        *sorted(f"{kind} {name} {body if kind == 'chain' else _sorted(body)}" for kind, name, body in found),
    ]


def _sorted(body: str) -> list[str]:
    # A set keeps the size that it got when a rule first added to it.
    return sorted(part.strip(" {}\t") for part in re.split(r",\n|\n|, |elements = ", body) if "size" not in part)


def fresh(items: Items, proxy: Proxy = NODE) -> list[str]:
    """What a first sync makes where nothing is."""
    with namespace() as pid:
        sync(pid, {}, items, proxy)
        return listed(nft(pid, "list", "ruleset"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_nft_takes_every_case(case: Path) -> None:
    ours = services(case.read_text())
    for proxy in (
        NODE,
        replace(NODE, masquerade_all=True, cluster_cidr=""),
        replace(NODE, node_port_addresses=("0.0.0.0/0",)),
    ):
        items = whole(nftables, ours, proxy)
        with namespace() as pid:
            for command in nftables.commands({}, items, proxy):
                nft(pid, "-c", *command.argv[1:], text=command.text)
            assert nft(pid, "list", "ruleset") == ""
            sync(pid, {}, items, proxy)
            chains = sum(item[0] == "nft-chain" for item in items)
            assert nft(pid, "list", "ruleset").count("\tchain ") == chains


def test_what_upstream_expects_of_its_own_test_is_listed_as_ours() -> None:
    proxy = replace(NODE, node="test-node")
    # Upstream's text goes to chains before it declares them: sorted by what is made, nft takes it.
    lines = (REAL / "current" / "overall.nft").read_text().splitlines()
    text = "".join(f"{line}\n" for line in sorted(filter(None, lines), key=lambda line: rank(line.split())))
    with namespace() as pid:
        nft(pid, "-f", "-", text=text)
        assert listed(nft(pid, "list", "ruleset")) == fresh(whole(nftables, overall(), proxy), proxy)


def rank(words: list[str]) -> int:
    return {"table": 0, "set": 1, "map": 1, "chain": 2, "rule": 3, "element": 4}.get(words[1], 0)


@pytest.mark.parametrize(
    "ranges",
    [
        ("0.0.0.0/0",),
        ("10.0.0.0/8", "10.1.0.0/16"),
        ("10.1.0.0/16", "10.1.0.0/16"),
        ("192.168.0.2/32", "192.168.0.0/24"),
    ],
)
def test_nft_takes_ranges_that_overlap(ranges: tuple[str, ...]) -> None:
    service = ServiceInfo(
        "d", "s", "172.30.0.1", (Port("p", 80),), load_balancer_ips=("192.168.0.9",), source_ranges=ranges
    )
    assert fresh(whole(nftables, [service], NODE))


# --- Increments --------------------------------------------------------------------------------------------------


def some(chance: random.Random, number: int) -> ServiceInfo:
    """A Service of any shape."""
    ends = tuple(
        Endpoint(f"10.{number}.0.{end}", 8080, chance.choice(["n1", "n2"]), ready=chance.random() < 0.8)
        for end in chance.sample(range(1, 6), chance.randrange(4))
    )
    protocol = chance.choice(["TCP", "UDP", "SCTP"])
    ports = [Port("p", 80, protocol, chance.choice([0, 30000 + number]), ends), Port("", 81, "TCP", 0, ends[:1])]
    return ServiceInfo(
        "ns",
        f"svc{number}",
        f"172.30.0.{number}",
        tuple(ports[: chance.randrange(1, 3)]),
        external_ips=chance.choice([(), (f"203.0.113.{number}",)]),
        load_balancer_ips=chance.choice([(), ("198.51.100.7",), (f"198.51.100.{number}",)]),
        source_ranges=chance.choice([(), ("10.9.0.0/16",), ("192.168.0.0/24", "10.8.0.0/16")]),
        affinity=chance.choice([0, 0, 10800]),
        external_local=chance.random() < 0.3,
        internal_local=chance.random() < 0.3,
    )


@pytest.mark.parametrize("seed", range(int(os.environ.get("NSLAB_SEEDS", "4"))))
def test_changes_end_where_a_fresh_write_does(seed: int) -> None:
    chance = random.Random(seed)
    there = {number: some(chance, number) for number in range(1, 8)}
    with namespace() as pid:
        items = whole(nftables, there.values(), NODE)
        sync(pid, {}, items)
        for _ in range(12):
            for number in chance.sample(range(1, 10), chance.randrange(1, 4)):
                there[number] = some(chance, number)
                if chance.random() < 0.2:
                    del there[number]
            wanted = whole(nftables, there.values(), NODE)
            sync(pid, items, wanted)
            items = wanted
            assert listed(nft(pid, "list", "ruleset")) == fresh(items)
        sync(pid, items, {})
        assert nft(pid, "list", "ruleset") == ""


STICKY = ServiceInfo(
    "d",
    "s",
    "172.30.0.1",
    (Port("p", 80, endpoints=(Endpoint("10.0.0.1", 80), Endpoint("10.0.0.2", 80))),),
    affinity=60,
)


def test_a_first_sync_over_an_older_table() -> None:
    """Who is bound to an endpoint stays bound; what is not wanted has no rules any more."""
    items = whole(nftables, [STICKY], NODE)
    with namespace() as pid:
        sync(pid, {}, whole(nftables, [STICKY, replace(STICKY, name="old", cluster_ip="172.30.0.2")], NODE))
        nft(pid, "add", "element", "ip", "kube-proxy", BOUND, "{ 10.0.0.77 }")
        sync(pid, {}, items)
        assert "10.0.0.77" in nft(pid, "list", "set", "ip", "kube-proxy", BOUND)
        assert "172.30.0.2" not in nft(pid, "list", "ruleset")
        empty = re.findall(r"chain (\S+-\S+/old/\S+) \{\n\t\}", nft(pid, "list", "ruleset"))
        assert len(empty) == 3


def test_another_time_out_reaches_the_kernel() -> None:
    with namespace() as pid:
        items = whole(nftables, [STICKY], NODE)
        sync(pid, {}, items)
        sync(pid, items, whole(nftables, [replace(STICKY, affinity=90)], NODE))
        assert nft(pid, "list", "sets").count("timeout 1m30s") == 2


# --- The fake, and reading back ----------------------------------------------------------------------------------


def state_of(*wished: ServiceInfo) -> State:
    return (Netns(NS), *objects(NS, {"kube-proxy": whole(nftables, wished, NODE)}))


def written(state: tuple[KernelObject, ...]) -> list[str]:
    """What nft lists where a state is written afresh."""
    with namespace() as pid:
        nft(pid, "-f", "-", text=nft_restore(Add(obj) for obj in state if not isinstance(obj, Netns)))
        return listed(nft(pid, "list", "ruleset"))


def there() -> list[str]:
    done = subprocess.run(["ip", "netns", "exec", NS, "nft", "list", "ruleset"], capture_output=True, text=True)
    return listed(done.stdout)


def refusal(kernel: object, transaction: object) -> str:
    try:
        kernel.run(transaction)  # type: ignore[attr-defined]
    except Refused as refused:
        return f"refused, after {len(refused.done)} steps"
    return ""


@pytest.mark.parametrize("seed", range(int(os.environ.get("NSLAB_SEEDS", "12"))))
def test_the_fake_refuses_what_nft_refuses(seed: int) -> None:
    chance, fake = random.Random(seed), FakeKernel()
    with real(LAB) as kernel:
        for transaction in cut(muddled(chance), chance):
            assert refusal(fake, transaction) == refusal(kernel, transaction), transaction
            assert there() == written(fake.state())


def cut(plan: Plan, chance: random.Random) -> Iterator[object]:
    """The plan as several transactions."""
    place = 0
    while place < len(plan):
        end = place + chance.choice([1, 5, 20, 100])
        yield from transactions(plan[place:end])
        place = end


def muddled(chance: random.Random) -> Plan:
    """A plan with steps left out, doubled, taken back, put elsewhere."""
    state = state_of(*(some(chance, number) for number in range(1, 4)))
    steps: list[Step] = [*diff((), state), *diff(state, state_of(*(some(chance, number) for number in range(1, 4))))]
    for _ in range(chance.randrange(12)):
        place = chance.randrange(1, len(steps))
        match chance.randrange(4):
            case 0:
                del steps[place]
            case 1:
                steps.insert(chance.randrange(1, len(steps)), steps[place])
            case 2:
                (undo,) = invert((steps[place],))
                steps.insert(chance.randrange(place, len(steps)), undo)
            case 3:
                steps.insert(chance.randrange(1, len(steps)), steps.pop(place))
    return tuple(steps)


def test_some_are_refused() -> None:
    fake = FakeKernel()
    answers = {refusal(fake, one) for seed in range(9) for one in transactions(muddled(random.Random(seed)))}
    assert answers == {"", "refused, after 0 steps"}


def back(known: State) -> set[KernelObject]:
    with Namespaces() as spaces:
        return set(tables(spaces, NS, known))


def test_what_a_person_types_makes_the_same() -> None:
    state = state_of(STICKY, *(some(random.Random(2), number) for number in range(2, 5)))
    with real(LAB) as kernel:
        kernel.run(next(iter(transactions((Add(Netns(NS)),)))))
        typed = "\n".join(line for obj in state[1:] for line in commands(Add(obj)))
        subprocess.run(["bash", "-e"], input=typed, text=True, check=True)
        assert there() == written(state)


def test_what_was_written_is_read_back() -> None:
    chance = random.Random(1)
    state = state_of(STICKY, *(some(chance, number) for number in range(2, 9)))
    with real(LAB) as kernel:
        for transaction in transactions(diff((), state)):
            kernel.run(transaction)
        assert back(state) == set(state[1:])
        assert diff((Netns(NS), *back(state)), state) == ()


TABLE = "ip kube-proxy"
BOUND = f"affinity-{nftables.nft_name('d/s/tcp/p__10.0.0.1/80')}"


@pytest.mark.parametrize(
    ("done", "verbs"),
    [
        (f"add rule {TABLE} services accept", {Replace: 1}),
        (f"flush chain {TABLE} masquerading", {Replace: 1}),
        (f"add element {TABLE} cluster-ips {{ 172.30.9.9 }}", {Remove: 1}),
        (f"delete element {TABLE} cluster-ips {{ 172.30.0.1 }}", {Add: 1}),
        (f"add chain {TABLE} mine\nadd rule {TABLE} mine tcp dport 80 accept", {Remove: 1}),
        (f"add set {TABLE} mine {{ type ether_addr ; }}", {Remove: 1}),
        (f"add element {TABLE} service-nodeports {{ tcp . 31999 : drop }}", {Remove: 1}),
        (f"add set {TABLE} {BOUND} {{ type ipv4_addr ; flags dynamic,timeout ; timeout 5s ; }}", {Replace: 1}),
        (f"delete table {TABLE}", {Add: len(state_of(STICKY)) - 1}),
    ],
)
def test_what_was_done_by_hand_is_healed(done: str, verbs: dict[type, int]) -> None:
    state = state_of(STICKY)
    with real(LAB) as kernel:
        for transaction in transactions(diff((), state)):
            kernel.run(transaction)
        was = there()
        subprocess.run(["ip", "netns", "exec", NS, "nft", "-f", "-"], input=done, text=True, check=True)
        plan = diff((Netns(NS), *back(state)), state)
        assert {verb: sum(isinstance(step, verb) for step in plan) for verb in {type(step) for step in plan}} == verbs
        for transaction in transactions(plan):
            kernel.run(transaction)
        assert there() == was


def test_a_table_declared_otherwise_is_made_anew() -> None:
    state = state_of(STICKY)
    with real(LAB) as kernel:
        kernel.run(next(iter(transactions((Add(Netns(NS)),)))))
        hook = "type filter hook input priority 5 ;"
        other = f"table {TABLE} {{ set cluster-ips {{ type ether_addr ; }} ; chain services {{ {hook} }} ; }}"
        subprocess.run(["ip", "netns", "exec", NS, "nft", other], check=True)
        for transaction in transactions(diff((Netns(NS), *back(state)), state)):
            kernel.run(transaction)
        assert there() == written(state)


def test_other_peoples_tables_are_none_of_ours() -> None:
    state = state_of(STICKY)
    with real(LAB) as kernel:
        for transaction in transactions(diff((), state)):
            kernel.run(transaction)
        subprocess.run(["ip", "netns", "exec", NS, "nft", "add table inet theirs"], check=True)
        subprocess.run(["ip", "netns", "exec", NS, "iptables-nft", "-A", "INPUT", "-j", "ACCEPT"], check=True)
        assert back(state) == set(state[1:])
        # Where nothing of nftables is wished, a table of a real kube-proxy is nobody's business.
        assert back((Netns(NS),)) == set()


def test_a_refusal_names_the_line() -> None:
    chain = NftChain(NS, "t", "c", "", ("goto nowhere",))
    with real(LAB) as kernel:
        kernel.run(next(iter(transactions((Add(Netns(NS)),)))))
        with pytest.raises(Refused) as refused:
            kernel.run(next(iter(transactions((Add(NftTable(NS, "t")), Add(chain))))))
        assert str(refused.value) == "nft add rule ip t c goto nowhere: No such file or directory"
        with pytest.raises(Refused) as refused:
            kernel.run(next(iter(transactions((Add(NftTable(NS, "t")), Add(NftSet(NS, "t", "s", "type nonsense ;")))))))
        assert str(refused.value).startswith("nft add set ip t s { type nonsense ; }: ")
