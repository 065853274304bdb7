"""Settings under /proc/sys/net."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from nslab.dataclass import dataclass, field, replace
from nslab.objects.base import KernelObject
from nslab.objects.keys import Layer
from nslab.quote import fill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nslab.objects.base import Step, Unit
    from nslab.objects.keys import Key

_IP_FORWARD = "net/ipv4/ip_forward"
_MEANING = {
    "ip_forward": "forwards packets that are not its own",
    "forwarding": "forwards packets that arrive there",
    "proxy_arp": "answers ARP there for addresses of others",
}


@dataclass(frozen=True, slots=True)
class Sysctl(KernelObject):
    """A sysctl of the namespace. `path` is under /proc/sys, with slashes; `default`: its value in a new namespace."""

    path: str
    value: str
    default: str = field(compare=False)

    rank: ClassVar[int] = Layer.SETTING
    unit: ClassVar[Unit] = "sysctl"
    by_anybody: ClassVar[bool] = True

    @property
    def key(self) -> Key:
        return ("Sysctl", self.ns, self.path)

    @property
    def requires(self) -> tuple[Key, ...]:
        match self.path.split("/"):
            case ["net", _, "conf" | "neigh", dev, _] if dev not in ("all", "default", "lo"):
                return (("Device", self.ns, dev),)
        return (("Netns", self.ns),)

    @property
    def initial(self) -> KernelObject | None:
        return replace(self, value=self.default)

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Sysctl)

    def lines(self, _step: Step) -> list[str]:
        return [fill("ip netns exec {} sysctl -qw {}", self.ns, f"{self._dotted}={self.value}")]

    def carried(self, there: Iterable[KernelObject]) -> list[KernelObject]:
        if self.path != _IP_FORWARD:
            return []
        # ip_forward sets the forwarding of all interfaces.
        return [
            replace(obj, value=self.value)
            for obj in there
            if isinstance(obj, Sysctl) and obj.ns == self.ns and obj.path.endswith("/forwarding")
        ]

    @property
    def label(self) -> str:
        return self._dotted

    @property
    def sentence(self) -> str:
        meaning = _MEANING.get(self.path.rpartition("/")[2], "has this setting")
        return f"{self.host} {meaning} ({self._dotted} = {self.value})"

    @property
    def listed(self) -> tuple[str, str]:
        return "settings", f"{self.path.replace('/', '.')}={self.value}"

    @property
    def stands_for(self) -> tuple[str, ...]:
        return tuple(self.path.split("/"))

    def differing(self, old: KernelObject) -> str:
        if not isinstance(old, Sysctl):
            return KernelObject.differing(self, old)
        return f"{self.host} has {self._dotted} = {old.value} instead of {self.value}{self.whose}"

    @property
    def _dotted(self) -> str:
        """The name for sysctl(8): with slashes if an interface's name contains a dot (vxlan.calico)."""
        return self.path if "." in self.path else self.path.replace("/", ".")


def written(obj: KernelObject) -> tuple[str, str]:
    """The path of a setting under /proc/sys, and the value to write."""
    assert isinstance(obj, Sysctl)
    return obj.path, obj.value


def seen(known: Iterable[KernelObject], read: Callable[[str], str | None]) -> Iterator[Sysctl]:
    """The settings of `known` with their present values. `read` returns a setting's text, or None if it is gone."""
    for obj in known:
        if isinstance(obj, Sysctl) and (text := read(obj.path)) is not None:
            yield replace(obj, value=text.strip())


def paths(known: Iterable[KernelObject]) -> set[str]:
    """The paths of the settings in a lab's state."""
    return {obj.path for obj in known if isinstance(obj, Sysctl)}


def changed(ns: str, path: str, value: str, default: str) -> Sysctl:
    """A setting that is not in the lab's state, and whose value is not a new namespace's default."""
    return Sysctl(ns, path, value, default)
