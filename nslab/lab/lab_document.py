"""The Lab document: a plain value, with its networks, addresses and settings as typed properties."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, Any

from nslab.dataclass import dataclass, field
from nslab.lab import bgp, termination
from nslab.lab.network_rules import BACKENDS, RULES, NetworkRules, fields
from nslab.lab.types import Encapsulation, Plugin, ProxyMode, Scheduler

if TYPE_CHECKING:
    from nslab.errors import FieldPath
    from nslab.lab.types import Cni


@dataclass(frozen=True, slots=True)
class Machine:
    """A node or a client of the document; missing fields are None."""

    name: str
    address: IPv4Address | None
    pod_cidr: IPv4Network | None = None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Joint:
    """A router. `legs`: its valid addresses, by index in the list; `written`: the length of that list."""

    name: str
    legs: dict[int, IPv4Address]
    written: int
    bgp: bool
    as_number: int


class LabDocument:
    """A Lab document that fits its schema. `document`: its index in the stream; None without a Lab document."""

    def __init__(self, value: dict[str, Any], document: int | None) -> None:
        self.value, self.document = value, document
        self.name: str = value.setdefault("metadata", {}).get("name", "")
        self.spec: dict[str, Any] = value.setdefault("spec", {})
        self.status: dict[str, Any] = value.setdefault("status", {})
        self.networks, self.cni, self.proxy, self.dns = (
            self.spec.setdefault(part, {}) for part in ("networks", "cni", "proxy", "dns")
        )
        self.node_list, self.client_list, self.router_list = (
            self.spec.setdefault(part, []) for part in ("nodes", "clients", "routers")
        )

    @property
    def stored(self) -> bool:
        """Whether nslab wrote the file, with what it gave to objects."""
        return bool(self.status.get("stored"))

    def place(self, *path: int | str) -> FieldPath:
        """The path of a field of the spec."""
        return (self.document or 0, "spec", *path)

    @property
    def node_networks(self) -> list[str]:
        """The subnets of the node network, as written."""
        value = self.networks.get("nodes", [])
        return value if isinstance(value, list) else [value]

    @property
    def subnets(self) -> dict[int, IPv4Network]:
        """The valid subnets, by index."""
        return {index: IPv4Network(one) for index, one in enumerate(self.node_networks) if "/" in one}

    @property
    def pod_network(self) -> IPv4Network:
        """The pod network. (This property and the next ones require the defaults to be filled in.)"""
        return IPv4Network(self.networks["pods"])

    @property
    def service_network(self) -> IPv4Network:
        """The service network."""
        return IPv4Network(self.networks["services"])

    @property
    def plugin(self) -> Plugin:
        """The network plugin."""
        return Plugin(self.cni["plugin"])

    @property
    def rules(self) -> NetworkRules:
        """The rules of the network plugin."""
        return RULES[self.plugin]

    @property
    def encapsulation(self) -> Encapsulation:
        """How packets cross the node network."""
        if self.rules.backends:
            return next(kind for kind, words in BACKENDS.items() if words.items() <= self.cni.items())
        return Encapsulation(self.cni["encapsulation"])

    @property
    def bgp(self) -> bgp.Bgp | None:
        """Who speaks BGP with whom; None: no BIRD runs."""
        return bgp.read(self.cni["bgp"]) if "bgp" in self.cni else None

    @property
    def proxy_mode(self) -> ProxyMode:
        """The proxy mode of kube-proxy."""
        return ProxyMode(self.proxy["mode"])

    @property
    def scheduler(self) -> Scheduler:
        """IPVS's scheduler."""
        return Scheduler(self.proxy["scheduler"])

    @property
    def dns_address(self) -> IPv4Address | None:
        """The name server, if there is one."""
        return address(self.dns.get("address"))

    @property
    def nodes(self) -> list[Machine]:
        """The nodes."""
        return [_machine(one) for one in self.node_list]

    @property
    def clients(self) -> list[Machine]:
        """The clients."""
        return [_machine(one) for one in self.client_list]

    @property
    def routers(self) -> list[Joint]:
        """The routers."""
        return [_joint(one) for one in self.router_list]

    @property
    def last_reserved(self) -> dict[str, IPv4Address]:
        """The last address that each node's allocator allocated."""
        return {name: IPv4Address(one) for name, one in self.status.get("lastReserved", {}).items()}

    @property
    def released(self) -> tuple[IPv4Address, ...]:
        """The pod addresses that were given back, the longest ago first."""
        return tuple(map(IPv4Address, self.status.get("released", ())))

    @property
    def replaced(self) -> tuple[str, ...]:
        """The pods of controllers, NAMESPACE/NAME, that were deleted and replaced, the longest ago first."""
        return tuple(self.status.get("replaced", ()))

    @property
    def replica_sets(self) -> tuple[dict[str, Any], ...]:
        """The ReplicaSets of Deployments' earlier templates, the oldest first."""
        return tuple(self.status.get("replicaSets", ()))

    @property
    def created(self) -> dict[str, int]:
        """When the lab came up, and what came later (see nslab.lab.creation), in seconds since 1970."""
        times = self.status.get("created", {}).items()
        return {key: int(seconds) for key, time in times if (seconds := termination.seconds_of(time))}


def address(word: str | None) -> IPv4Address | None:
    """An address that may be missing."""
    return IPv4Address(word) if word else None


def _machine(machine: dict[str, Any]) -> Machine:
    cidr = machine.get("podCIDR")
    labels = machine.get("labels", {})
    return Machine(
        machine.get("name", ""), address(machine.get("address")), IPv4Network(cidr) if cidr else None, labels
    )


def _joint(machine: dict[str, Any]) -> Joint:
    written = machine.get("addresses", [])
    legs = {index: IPv4Address(one) for index, one in enumerate(written) if "." in one}
    bgp = machine.get("bgp", False)
    as_number = bgp.get("asNumber", 0) if isinstance(bgp, dict) else 0
    return Joint(machine.get("name", ""), legs, len(written), bgp is not False, as_number)


def set_to(
    lab: LabDocument, encapsulation: Encapsulation | None, proxy_mode: ProxyMode | None, cni: Cni | None
) -> None:
    """Override settings of the document."""
    if encapsulation:
        for field_ in ("encapsulation", "backend", "directRouting"):
            lab.cni.pop(field_, None)
        lab.cni |= fields(Plugin(lab.cni.get("plugin", Plugin.CALICO)), encapsulation)
    if proxy_mode:
        lab.proxy["mode"] = str(proxy_mode)
    if cni:
        lab.cni.clear()
        lab.cni |= {"plugin": str(Plugin.EXEC), "encapsulation": str(Encapsulation.NONE), "config": cni.config}
        lab.cni |= {"path": [*cni.path], "routes": cni.routes, "masquerade": cni.masquerade}
