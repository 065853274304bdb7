"""Differences in the terms of the cluster: what is missing, what is not as it should be, what nobody asked for."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from nslab.compiler.addresses import address_of
from nslab.lab.types import Plugin
from nslab.net import names
from nslab.net.objects import (
    Address,
    Blackhole,
    Bridge,
    Chain,
    Fdb,
    Ipip,
    IpSet,
    Jump,
    LinkUp,
    Neighbour,
    Netns,
    NodeAgent,
    Object,
    Port,
    Route,
    Sandbox,
    SetMember,
    Sysctl,
    Tun,
    TunnelAgent,
    Veth,
    Vxlan,
    Workload,
)
from nslab.net.steps import Add, Remove, Replace

if TYPE_CHECKING:
    from nslab.lab.types import Lab
    from nslab.net.objects import Key
    from nslab.net.steps import Plan, Step


def changes(lab: Lab, plan: Plan) -> list[str]:
    """A line for each step of a healing plan, without those that only follow from another line."""
    made = {key for step in plan if isinstance(step, Add) for key in _keys(step.obj)}
    unmade = {step.obj.key for step in plan if isinstance(step, Remove)}
    told = [step for step in plan if not _follows(step, made)]
    owners = _Owners(lab)
    return [f"{owners.host(step.obj.ns)}: {_sentence(step, owners, unmade)}" for step in told]


def _keys(obj: Object) -> tuple[Key, ...]:
    """What others can lie on: of a cable, both ends."""
    return (obj.key, ("Device", obj.peer_ns, obj.peer)) if isinstance(obj, Veth) else (obj.key,)


def _follows(step: Step, made: set[Key]) -> bool:
    """Whether another line says it already: what it lies on is made, or it is only taken away to be made anew."""
    return any(key in made for key in step.obj.lies_on) or (isinstance(step, Remove) and step.obj.key in made)


def _sentence(step: Step, owners: _Owners, unmade: set[Key]) -> str:
    what = f"{owners.described(step.obj)}{f' ({step.obj.by})' if step.obj.by else ''}"
    match step:
        case Add(obj):
            return f"{what} is {'something else' if obj.key in unmade else 'missing'}"
        case Remove():
            return f"{what} is not of this lab"
        case Replace(old, new):
            return f"{what} is {_value(old)}, not {_value(new)}"


def _value(obj: Object) -> str:
    """What a Replace changes, in a word or two."""
    match obj:
        case Sysctl(value=value):
            return value
        case Veth(mtu=mtu, mac=mac) | Bridge(mtu=mtu, mac=mac) | Vxlan(mtu=mtu, mac=mac):
            return f"mtu {mtu}, {mac}"
        case Ipip(mtu=mtu) | Tun(mtu=mtu):
            return f"mtu {mtu}"
        case Route(via=via, dev=dev, protocol=protocol):
            return f"{f'via {via} ' if via else ''}dev {dev} proto {protocol}"
        case Blackhole():
            return "a blackhole"
        case Neighbour(mac=mac):
            return mac
        case Fdb(dst=dst):
            return f"towards {dst}"
        case Port(bridge=bridge, hairpin=hairpin):
            return f"in {bridge}, hairpin {'on' if hairpin else 'off'}"
        case Chain(rules=rules):
            return f"{len(rules)} rules{f', the last {rules[-1]!r}' if rules else ''}"
        case _:
            return "different"


class _Owners:
    """Who an address, a block or a cable belongs to."""

    def __init__(self, lab: Lab) -> None:
        cable = names.kubenet_veth if lab.plugin is Plugin.KUBENET else names.cali
        pods = {pod: names.pod_host(pod.namespace, pod.name) for pod in lab.pods}
        self._prefix = names.netns(lab.name, "")
        self._pods = set(pods.values())
        self._by_address = {str(address_of(pod)): f"pod {host}" for pod, host in pods.items()}
        self._by_address |= {str(node.address): f"node {node.name}" for node in lab.nodes}
        self._by_cable = {cable(pod.namespace, pod.name): f"pod {host}" for pod, host in pods.items()}
        self._cidrs = [(node.pod_cidr, node.name) for node in lab.nodes]

    def host(self, ns: str) -> str:
        """The host of a namespace, with what it is."""
        host = ns.removeprefix(self._prefix)
        return f"pod {host}" if host in self._pods else host

    def described(self, obj: Object) -> str:
        """What an object is to the cluster."""
        match obj:
            case Netns():
                return "the network namespace"
            case Veth() | Bridge() | Vxlan() | Ipip() | Tun():
                return f"interface {self._device(obj.name)}"
            case LinkUp(dev=dev):
                return f"the up state of {self._device(dev)}"
            case Port(dev=dev, bridge=bridge):
                return f"the plug of {self._device(dev)} in {bridge}"
            case Address(dev=dev, address=address):
                return f"address {address} on {dev}"
            case Route(to=to):
                return f"the route to {self._destination(str(to))}"
            case Blackhole(to=to):
                return f"the blackhole for unused addresses of {to}"
            case Neighbour(address=address, dev=dev):
                return f"the neighbour entry of {self._destination(f'{address}/32')} on {dev}"
            case Fdb(mac=mac, dst=dst):
                return f"the forwarding entry of {mac} behind {self._destination(f'{dst}/32')}"
            case Sysctl(path=path):
                return f"sysctl {self._sysctl(path)}"
            case IpSet(name=name):
                return f"ipset {name}"
            case SetMember(set=name, member=member):
                return f"{member} in ipset {name}"
            case Chain(table=table, name=name):
                return f"chain {name} of table {table}"
            case Jump(table=table, chain=chain, rule=rule):
                return f"the rule of {table} {chain} `{rule}`"
            case NodeAgent():
                return "nslab-node, the parent of what runs there,"
            case TunnelAgent(dev=dev):
                return f"the process behind {dev}"
            case Sandbox():
                return "the pause process"
            case Workload(container=container):
                return f"container {container}"

    def _destination(self, to: str) -> str:
        if to == "0.0.0.0/0":
            return "everywhere else (default)"
        plain = to.removesuffix("/32")
        if plain in self._by_address:
            return f"{self._by_address[plain]} ({plain})"
        owner = next((name for cidr, name in self._cidrs if IPv4Network(to).subnet_of(cidr)), None)
        return f"{plain}, pods of {owner}," if owner else plain

    def _device(self, name: str) -> str:
        return f"{name} (to {self._by_cable[name]})" if name in self._by_cable else name

    def _sysctl(self, path: str) -> str:
        for cable, pod in self._by_cable.items():
            if f"/{cable}/" in path:
                return f"{path.replace('/', '.')} (towards {pod})"
        return path.replace("/", ".")
