"""Kernel objects in Kubernetes' words: what each is for, what it is called, and what is the matter with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, assert_never

from nslab.objects.kinds import (
    Address,
    Attachment,
    Blackhole,
    Bridge,
    Chain,
    Control,
    Dummy,
    Fdb,
    Ipip,
    IpSet,
    Jump,
    KubeProxy,
    LinkUp,
    Neighbour,
    Netns,
    NftChain,
    NftElement,
    NftSet,
    NftTable,
    NodeAgent,
    Port,
    RealServer,
    Route,
    Sandbox,
    SetMember,
    Sysctl,
    Tun,
    TunnelAgent,
    Veth,
    VirtualServer,
    Vxlan,
    Workload,
)
from nslab.objects.plan import Add, Remove, Replace

if TYPE_CHECKING:
    from nslab.objects.kinds import Object
    from nslab.objects.plan import Step

_WHOSE = {"cloud routes": " (one of the cloud's)", "the machines": "", "": ""}
_MEANING = {
    "ip_forward": "forwards packets that are not its own",
    "forwarding": "forwards what comes in there",
    "proxy_arp": "answers ARP on behalf of others there",
}


def host(ns: str) -> str:
    """The host that a namespace plays."""
    return ns.rpartition(".")[2]


def thing(obj: Object) -> str:
    """What it is called, after `has no` and after `'s`."""
    match obj:
        case Netns():
            return "namespace"
        case Veth():
            return f"cable {obj.name} to {host(obj.peer_ns)}'s {obj.peer}"
        case Bridge():
            return f"bridge {obj.name}"
        case Vxlan() | Ipip() | Tun():
            return f"tunnel {obj.name}"
        case Port():
            return f"plug of {obj.dev} in bridge {obj.bridge}"
        case LinkUp():
            return f"link {obj.dev}"
        case Address():
            return f"address {obj.address} on {obj.dev}"
        case Route():
            return f"route to {obj.to}" if obj.to.prefixlen else "default route"
        case Blackhole():
            return f"blackhole for {obj.to}"
        case Neighbour():
            return f"permanent ARP entry for {obj.address} on {obj.dev}"
        case Fdb():
            return f"FDB entry of {obj.dev} for {obj.mac} (behind {obj.dst})"
        case Sysctl():
            return setting(obj)
        case IpSet():
            return f"ipset {obj.name}"
        case SetMember():
            return f"member {obj.member} in ipset {obj.set}"
        case Chain():
            return f"chain {obj.name} (table {obj.table}){_service(obj)}"
        case Jump():
            return f"rule in {obj.chain} (table {obj.table}): {obj.rule}"
        case Attachment():
            return (
                f"{obj.wiring.ifname} by CNI network {obj.wiring.network.name} ({', '.join(obj.wiring.network.types)})"
            )
        case NodeAgent():
            return "nslab-node process (kubelet's part)"
        case TunnelAgent():
            return f"process behind {obj.dev}"
        case Sandbox():
            return f"pause process of pod {obj.pod}"
        case Workload():
            return f"running container {obj.container}"
        case Dummy():
            return f"dummy interface {obj.name}"
        case VirtualServer():
            return f"IPVS virtual server {obj.service}/{obj.protocol}"
        case RealServer():
            return f"IPVS real server {obj.server} of {obj.service}/{obj.protocol}"
        case NftTable():
            return f"nftables table ip {obj.name}"
        case NftSet():
            return f"nftables {'map' if obj.map else 'set'} {obj.name}"
        case NftChain():
            return f"nftables chain {obj.name}"
        case NftElement():
            return f"element {obj.element} in nftables {obj.set}"
        case Control():
            return "lab's API server (control process)"
        case KubeProxy():
            return "kube-proxy process"
        case missing:
            assert_never(missing)


def sentence(obj: Object) -> str:
    """What it does for a packet."""
    at = host(obj.ns)
    match obj:
        case Netns():
            return f"{at} exists"
        case Veth():
            return f"a cable joins {at}'s {obj.name} and {host(obj.peer_ns)}'s {obj.peer} (MTU {obj.mtu})"
        case Bridge() | Vxlan() | Ipip() | Tun():
            return f"{at} has {thing(obj)} (MTU {obj.mtu})"
        case Port():
            return f"{at}'s {obj.dev} is plugged into bridge {obj.bridge}"
        case LinkUp():
            return f"{at}'s {obj.dev} is up"
        case Address():
            return f"{at} has {obj.address.ip} on {obj.dev}"
        case Route():
            return f"{at} sends packets for {_everything(obj)} {_through(obj)}"
        case Blackhole():
            return f"{at} drops packets for addresses of {obj.to} that no pod has"
        case Neighbour():
            return f"{at} knows that {obj.address} is at {obj.mac}"
        case Fdb():
            return f"{at} sends frames for {obj.mac} inside UDP to {obj.dst}"
        case Sysctl():
            meaning = _MEANING.get(obj.path.rpartition("/")[2], "is set up so")
            return f"{at} {meaning} ({setting(obj)} = {obj.value})"
        case IpSet() | SetMember():
            return f"{at} has {thing(obj)}"
        case Chain() | Jump():
            return f"{at} translates by its {thing(obj)}"
        case NftTable() | NftSet() | NftChain() | NftElement() | VirtualServer() | RealServer():
            return f"{at} balances by its {thing(obj)}"
        case Dummy():
            return f"{at} has {thing(obj)}"
        case Attachment():
            return f"{at} has {obj.address} on {thing(obj)}"
        case NodeAgent() | Control() | TunnelAgent() | KubeProxy() | Sandbox() | Workload():
            return f"{at} has its {thing(obj)}"
        case missing:
            assert_never(missing)


def trouble(step: Step) -> str:
    """What is the matter, told by the step that would mend it."""
    at = host(step.obj.ns)
    match step:
        case Add(LinkUp(dev=dev)):
            return f"{at}'s {dev} is down"
        case Add(Netns()):
            return f"there is no {at}"
        case Add(obj):
            return f"{at} has no {thing(obj)}{_whose(obj)}"
        case Remove(Attachment(fault=fault) as obj):
            return f"{at}'s {thing(obj)}: {fault or 'it is not what is wished'}"
        case Remove(obj):
            name = thing(obj)
            return f"{at} has {'an' if name[0] in 'aeiou' else 'a'} {name}{_wayward(obj)} that is not the lab's"
        case Replace(Sysctl() as old, Sysctl() as obj):
            return f"{at} has {setting(obj)} = {old.value} instead of {obj.value}{_whose(obj)}"
        case Replace(Route() as old, Route() as obj) if _through(old) == _through(obj):
            return f"{at}'s {thing(obj)} is {_written(old)} instead of {_written(obj)}{_whose(obj)}"
        case Replace(Route() as old, Route() as obj):
            return f"{at}'s {thing(obj)} leads {_through(old)} instead of {_through(obj)}{_whose(obj)}"
        case Replace(Veth() | Bridge() | Ipip() | Tun() | Vxlan() as old, obj) if (
            isinstance(obj, Veth | Bridge | Ipip | Tun | Vxlan) and old.mtu != obj.mtu
        ):
            return f"{at}'s {thing(obj)} has MTU {old.mtu} instead of {obj.mtu}{_whose(obj)}"
        case Replace(Chain(rules=before), Chain(rules=rules) as obj) if {*before} != {*rules}:
            return f"{at}'s {thing(obj)} {_compared(before, rules)}{_whose(obj)}"
        case Replace(_, obj):
            return f"{at}'s {thing(obj)} is not as it should be{_whose(obj)}"
        case missing:
            assert_never(missing)


def _service(obj: Chain) -> str:
    """The Service that a chain of kube-proxy's is for: its rules' comments begin with NAMESPACE/NAME[:PORT]."""
    if not _OF_ONE.match(obj.name):
        return ""
    named = (_NAMED.search(rule) for rule in obj.rules)
    return next((f" of Service {found[1]}" for found in named if found), "")


_OF_ONE = re.compile("KUBE-(SVC|SVL|EXT|FW|SEP)-")
_NAMED = re.compile(r'--comment "(?:[^"]* )?([a-z0-9.-]+/[a-z0-9.-]+(?::[a-z0-9-]+)?)')


def _compared(before: tuple[str, ...], rules: tuple[str, ...]) -> str:
    """What a chain lacks and what it has too much, by the first rule of each."""
    had, wanted = {*before}, {*rules}
    missing = _counted([rule for rule in rules if rule not in had])
    strange = _counted([rule for rule in before if rule not in wanted])
    parts = [f"lacks {missing}"] * bool(missing) + [f"was given {strange}"] * bool(strange)
    return ", and ".join(parts)


def _counted(rules: list[str]) -> str:
    """So many rules, with the first."""
    if not rules:
        return ""
    return f"{len(rules)} rules, the first being {rules[0]}" if len(rules) > 1 else f"the rule {rules[0]}"


def setting(obj: Sysctl) -> str:
    """A sysctl as sysctl(8) writes it."""
    return obj.path if "." in obj.path else obj.path.replace("/", ".")


def _whose(obj: Object) -> str:
    return _WHOSE.get(obj.by, f" ({obj.by}'s)" if " " not in obj.by else f" (the {obj.by}'s)")


def _wayward(obj: Object) -> str:
    return f" {_through(obj)}" if isinstance(obj, Route) else ""


def _everything(obj: Route) -> str:
    return str(obj.to) if obj.to.prefixlen else "everywhere else"


def _through(obj: Route) -> str:
    return f"via {obj.via} through {obj.dev}" if obj.via else f"through {obj.dev}"


def _written(obj: Route) -> str:
    return f"proto {obj.protocol}{' onlink' if obj.onlink else ''}"
