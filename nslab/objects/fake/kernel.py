"""The kernel in memory: a set of objects that refuses what Linux refuses and takes away what Linux takes away.

Not trusted: `tests/kernel/test_fake_is_true.py` drives it and the real one with the same plans. What a noun lies on,
the noun says itself; here stands what each verb needs, what it runs into, and how far a transaction gets.
"""

from __future__ import annotations

import errno
import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from nslab.dataclass import replace
from nslab.errors import Refused
from nslab.objects import ipvs, nft
from nslab.objects import script as shell
from nslab.objects.fake.nft import obey
from nslab.objects.iptables import settled
from nslab.objects.kinds import (
    Address,
    Blackhole,
    Bridge,
    Chain,
    Device,
    Dummy,
    Fdb,
    Ipip,
    IpSet,
    Jump,
    LinkUp,
    Neighbour,
    Netns,
    Port,
    Process,
    RealServer,
    Route,
    SetMember,
    Sysctl,
    Tun,
    Veth,
    VirtualServer,
    Vxlan,
    macs,
)
from nslab.objects.plan import Add, Remove, Replace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from nslab.objects.kinds import Key, Object, OnDevice, State
    from nslab.objects.plan import Plan, Step, Transaction

# Where a second one of the same name is refused, and with which error. (The rest is a setting: said twice, said once.)
_ONCE: dict[type, int] = {
    **dict.fromkeys((Netns, Veth, Bridge, Vxlan, Ipip, Dummy), errno.EEXIST),
    **dict.fromkeys((Address, Route, Blackhole, Fdb, IpSet, SetMember), errno.EEXIST),
}
# Where taking away what is not there is refused. (A namespace, a TUN and a chain may be gone already.)
_ABSENT: dict[type, int] = {
    **dict.fromkeys((Veth, Bridge, Vxlan, Ipip, Dummy), errno.ENODEV),
    **dict.fromkeys((Neighbour, Fdb, IpSet, SetMember), errno.ENOENT),
    **dict.fromkeys((Route, Blackhole), errno.ESRCH),
    Address: errno.EADDRNOTAVAIL,
}
# What is missing below an object decides what Linux says.
_MISSING = {"Netns": errno.ENOENT, "Device": errno.ENODEV, "LinkUp": errno.ENETDOWN}
_TARGETS = {"ACCEPT", "DROP", "RETURN", "MASQUERADE", "SNAT", "DNAT", "REDIRECT", "MARK", "REJECT", "NOTRACK"}
_NAMED = re.compile(r"(?:^|\s)(-[jg]|--match-set) (\S+)")
_IP_FORWARD = "net/ipv4/ip_forward"


class _Things(dict["Key", "Object"]):
    """What is there, by its key; `given` counts what others can lie on because of it."""

    def __init__(self, have: Mapping[Key, Object] | None = None) -> None:
        super().__init__(have or {})
        self.given = Counter(key for obj in self.values() for key in obj.gives)

    def __setitem__(self, key: Key, obj: Object) -> None:
        if before := self.get(key):
            self._without(before)
        super().__setitem__(key, obj)
        self.given.update(obj.gives)

    def __delitem__(self, key: Key) -> None:
        self._without(self[key])
        super().__delitem__(key)

    def _without(self, obj: Object) -> None:
        for key in obj.gives:
            self.given[key] -= 1
            if not self.given[key]:
                del self.given[key]


class FakeKernel:
    """Satisfies `nslab.engine.Kernel`. Begins with `have`."""

    def __init__(self, have: Iterable[Object] = ()) -> None:
        self._there = _Things()
        self._jumps: list[Jump] = []  # a rule can be there twice, and has a place
        self._had_address: set[str] = set()
        for obj in have:
            self._learn(obj)
            if isinstance(obj, Jump):
                self._jumps.append(obj)
            else:
                self._there[obj.key] = obj

    def state(self) -> State:
        """Everything that is there: of built-in chains, the rules in their order."""
        return (*self._there.values(), *self._jumps)

    def run(self, transaction: Transaction) -> None:
        """Do one transaction, or raise Refused with the step, the kernel's words, and what was done all the same."""
        match transaction.unit:
            case "netlink":
                self._goes_on(transaction.steps)
            case "iptables":
                self._all_or_nothing(transaction.steps)
            case "nft":
                self._nft(transaction.steps)
            case "ipvs":
                self._ipvs(transaction.steps)
            case "netns" | "tun" | "sysctl" | "ipset" | "cni" | "process":
                self._stops(transaction.steps)

    def _goes_on(self, steps: Plan) -> None:
        """A netlink batch: a refused message does not keep the kernel from the next one."""
        refused: dict[int, int] = {}
        unknown: set[Key] = set()
        for place, step in enumerate(steps):
            number = self._obstacle(step, unknown)
            if not number:
                self._do(step)
                unknown.difference_update(_devices(step.obj))
                continue
            refused[place] = number
            if isinstance(step, Add) and not self._missing(step.obj, set()):
                # New interfaces get their numbers from us: under this one the batch will find nothing.
                unknown.update(_devices(step.obj))
        if refused:
            first = min(refused)
            done = [step for place, step in enumerate(steps) if place not in refused]
            raise _refused(steps[first], refused[first], done)

    def _ipvs(self, steps: Plan) -> None:
        """`ipvsadm -R` goes on, too; a real server needs its virtual one, and goes with it."""
        ns = steps[0].obj.ns
        if ("Netns", ns) not in self._there:
            raise _refused(steps[0], errno.ENOENT, ())
        before = [obj for obj in self._there.values() if isinstance(obj, VirtualServer | RealServer) and obj.ns == ns]
        refused, after = ipvs.refusals(before, steps, addressed=ns in self._had_address)
        for obj in before:
            del self._there[obj.key]
        for obj in after:
            self._there[obj.key] = obj
        if refused:
            first = min(refused)
            done = [step for place, step in enumerate(steps) if place not in refused]
            raise Refused(shell.command(steps[first]), refused[first], done)

    def _stops(self, steps: Plan) -> None:
        """One by one, or a restore of sets: it ends where it is refused."""
        before = dict(self._there)
        for place, step in enumerate(steps):
            if number := self._obstacle(step, set()):
                if isinstance(step.obj, SetMember) and self._missing(step.obj, set()):
                    self._lose(steps[:place], before)
                raise _refused(step, number, steps[:place])
            self._do(step)

    def _lose(self, steps: Plan, before: dict[Key, Object]) -> None:
        """`ipset restore` holds back what goes into one set, and loses it over a line that it cannot even read."""
        for step in reversed(steps):
            if not isinstance(step.obj, SetMember) or _into(step) != _into(steps[-1]):
                break
            if step.obj.key in self._there:
                del self._there[step.obj.key]
            if step.obj.key in before:
                self._there[step.obj.key] = before[step.obj.key]

    def _all_or_nothing(self, steps: Plan) -> None:
        """A restore of one table: chains are declared (and so emptied), then rules change, then chains go."""
        there, jumps = dict(self._there), list(self._jumps)
        told = settled(steps)
        for step in told:
            if isinstance(step.obj, Chain):
                self._there[step.obj.key] = replace(step.obj, rules=())
        for step in sorted(told, key=_turn):
            if number := self._obstacle(step, set()):
                self._there, self._jumps = _Things(there), jumps
                raise _refused(step, number, ())
            self._do(step)

    def _nft(self, steps: Plan) -> None:
        """One transaction of nft: all or nothing."""
        there = dict(self._there)
        for order in nft.orders(steps):
            if number := obey(order, there):
                raise _refused(order.step, number, ())
        self._there = _Things(there)

    def _obstacle(self, step: Step, unknown: set[Key]) -> int:
        """The error that Linux answers with, or 0. Interfaces that are `unknown` are as good as missing."""
        obj = step.obj
        number = self._missing(obj, unknown)
        match step:
            case Remove():
                if not isinstance(obj, Netns | Process) and ("Netns", obj.ns) not in self._there:
                    return errno.ENOENT
                return errno.ENODEV if unknown & {obj.key, *_needs(obj)} else self._cannot_go(obj)
            case Replace() if isinstance(obj, Device) and not _born(obj) and self._absent(obj, unknown):
                return errno.ENODEV
            case Add() if type(obj) in _ONCE and any(
                key[0] != "Addressed" and key in self._there.given for key in obj.gives
            ):
                number = number or _ONCE[type(obj)]
        if not number and isinstance(obj, Route) and not self._reaches(obj):
            return errno.ENETUNREACH
        if not number and isinstance(obj, Chain | Jump) and not self._knows(obj):
            return errno.ENOENT
        return number

    def _cannot_go(self, obj: Object) -> int:
        match obj:
            case Jump():
                return 0 if obj in self._jumps else errno.ENOENT
            case Port() | LinkUp():  # off is off, as long as there is an interface
                return 0 if _interface(obj) in self._there.given else errno.ENODEV
        there = self._there.get(obj.key)
        # A route or an entry is looked for with all that is said of it.
        if type(obj) in _ABSENT and (there is None or (isinstance(obj, Route | Blackhole | Fdb) and there != obj)):
            return _ABSENT[type(obj)]
        return errno.EBUSY if self._in_use(obj) else 0

    def _missing(self, obj: Object, unknown: set[Key]) -> int:
        """The error for the first thing that the object needs and that is not there, or 0."""
        given = self._there.given
        missing = next((key for key in _needs(obj) if key in unknown or key not in given), None)
        return _MISSING.get(missing[0], errno.ENOENT) if missing else 0

    def _absent(self, obj: Object, unknown: set[Key]) -> bool:
        return obj.key in unknown or obj.key not in self._there

    def _do(self, step: Step) -> None:
        obj = step.obj
        match step, obj:
            case Remove(), Jump():
                self._jumps.remove(obj)
            case Remove(), _:
                if obj.key in self._there:
                    del self._there[obj.key]
                    self._cascade(set(obj.gives))
            case _, Chain():
                declared = self._there[obj.key]
                assert isinstance(declared, Chain)
                self._there[obj.key] = replace(obj, rules=declared.rules + obj.rules)
            case _, Jump(place="first"):
                self._jumps.insert(0, obj)
            case _, Jump():
                self._jumps.append(obj)
            case _:
                before = self._there.get(obj.key)
                self._there[obj.key] = obj
                self._learn(obj)
                if before:
                    self._cascade({end for end, mac in macs(before).items() if macs(obj).get(end) != mac})
        if isinstance(obj, Sysctl) and obj.path == _IP_FORWARD:
            self._sweep(obj)

    def _cascade(self, lost: set[Key]) -> None:
        """What lies on what was lost goes, too; not a process, which only loses its place."""
        while lost := lost - self._there.given.keys():
            gone = [
                obj
                for obj in self._there.values()
                if not isinstance(obj, Process) and any(key in lost for key in obj.lies_on)
            ]
            self._jumps = [jump for jump in self._jumps if not any(key in lost for key in jump.lies_on)]
            for obj in gone:
                del self._there[obj.key]
            lost = {key for obj in gone for key in obj.gives}

    def _sweep(self, forward: Sysctl) -> None:
        """ip_forward is a switch for all interfaces at once."""
        for key, obj in self._there.items():
            if isinstance(obj, Sysctl) and obj.ns == forward.ns and obj.path.endswith("/forwarding"):
                self._there[key] = replace(obj, value=forward.value)

    def _learn(self, obj: Object) -> None:
        if isinstance(obj, Address) or (isinstance(obj, LinkUp) and obj.dev == "lo"):  # 127.0.0.1 comes with lo
            self._had_address.add(obj.ns)

    def _reaches(self, route: Route) -> bool:
        """Whether the gateway is on the wire of its interface: in an address's network, or behind a link route."""
        if route.via is None:
            return True
        if route.onlink:
            # Before its first address a namespace has no table `local`, and Linux takes every gateway for a broadcast.
            return route.ns in self._had_address
        for obj in self._there.values():
            match obj:
                case Address(ns=ns, dev=dev, address=own) if (ns, dev) == (route.ns, route.dev):
                    if route.via in own.network and route.via != own.ip:
                        return True
                case Route(ns=ns, dev=dev, to=to, via=None) if (ns, dev) == (route.ns, route.dev) and route.via in to:
                    return True
        return False

    def _knows(self, rules: Chain | Jump) -> bool:
        """Whether every chain and set is there that the rules name."""
        return all(_key_of(name, rules) in self._there for name in _named(rules))

    def _in_use(self, obj: Object) -> bool:
        match self._there.get(obj.key, obj):
            case Chain(rules=[_, *_]):
                return True
            case Chain() | IpSet():
                rules = [user for user in self.state() if isinstance(user, Chain | Jump) and user.ns == obj.ns]
                return any(_key_of(name, user) == obj.key for user in rules for name in _named(user))
            case Tun():
                return any(isinstance(user, Process) and obj.key in user.lies_on for user in self._there.values())
        return False


def _refused(step: Step, number: int, done: Iterable[Step]) -> Refused:
    return Refused(shell.command(step), os.strerror(number), tuple(done))


def _turn(step: Step) -> int:
    """When a step of a restore has its turn: chains are filled, jumps go and come, chains go."""
    match step, step.obj:
        case Remove(), Chain():
            return 3
        case _, Chain():
            return 0
        case Remove(), _:
            return 1
    return 2


def _into(step: Step) -> tuple[type, Key]:
    return type(step), step.obj.lies_on[0]


def _needs(obj: Object) -> tuple[Key, ...]:
    """What must be there first: what it lies on, except that nobody needs an address, and a neighbour no link."""
    match obj:
        case Neighbour():
            return (_interface(obj),)
        case Route():
            return (_interface(obj), ("LinkUp", obj.ns, obj.dev))
        case _:
            return obj.lies_on


def _interface(obj: OnDevice | Route) -> Key:
    """The interface; lo is there as soon as its namespace is."""
    return ("Netns", obj.ns) if obj.dev == "lo" else ("Device", obj.ns, obj.dev)


def _born(obj: Object) -> bool:
    return isinstance(obj, Ipip) and obj.born


def _devices(obj: Object) -> set[Key]:
    return {key for key in obj.gives if key[0] == "Device"}


def _named(rules: Chain | Jump) -> Iterator[tuple[str, str]]:
    """The chains and sets in rules: how, and by what name."""
    for rule in (rules.rule,) if isinstance(rules, Jump) else rules.rules:
        yield from (found for found in _NAMED.findall(rule) if found[1] not in _TARGETS)


def _key_of(named: tuple[str, str], user: Chain | Jump) -> Key:
    how, name = named
    return ("IpSet", user.ns, name) if how == "--match-set" else ("Chain", user.ns, user.table, name)
