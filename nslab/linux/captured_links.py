"""The interfaces of a lab at which packets can be captured, and those that come later."""

from __future__ import annotations

import errno
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from nslab import rundir
from nslab.dataclass import dataclass
from nslab.linux.folder_watch import FolderWatch
from nslab.linux.netlink import batch
from nslab.linux.netlink.listener import LINKS, NETLINK_ROUTE, NetlinkListener
from nslab.linux.netns import folder, inode, named
from nslab.objects.names import host
from nslab.wire import pcapng

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Self

    from nslab.linux.netns import Namespaces

_ETHERNET_DEVICES = (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK


@dataclass(frozen=True, slots=True)
class CapturedInterface:
    """An interface at which packets are captured. `link_type`: see nslab.wire.pcapng.

    `namespace`, `index`: by what it is told from all others that there are.
    """

    host: str
    dev: str
    link_type: int
    namespace: int
    index: int

    @property
    def name(self) -> str:
        """As it is named in the file."""
        return f"{self.host}:{self.dev}"


def interfaces(spaces: Namespaces, namespaces: Iterable[str]) -> list[CapturedInterface]:
    """All interfaces of some namespaces of a lab, but those that are down."""
    found = []
    for ns in namespaces:
        with unless_gone():
            for name, (index, kind) in batch.links_up(spaces.route_socket(ns)).items():
                link_type = pcapng.ETHERNET if kind in _ETHERNET_DEVICES else pcapng.RAW
                found.append(CapturedInterface(host(ns), name, link_type, inode(ns), index))
    spaces.home()
    return found


class LinkWatch:
    """Hears of interfaces and hosts that come to a lab, until it is closed. `stopped`: see `wait`."""

    def __init__(self, spaces: Namespaces, lab: str, stopped: int) -> None:
        self._spaces, self._lab = spaces, lab
        self._folders = FolderWatch(folder(lab) / rundir.NAMES)
        self._listener = NetlinkListener(spaces, {NETLINK_ROUTE: [LINKS]}, stopped)
        self._heard: dict[str, int] = {}
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        self._opened.enter_context(self._folders)
        self._opened.enter_context(self._listener)
        if self._folders.descriptor >= 0:
            self.wake_for(self._folders.descriptor)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @property
    def is_there(self) -> bool:
        """Whether a namespace still has its name: who captures keeps the namespaces of a lab that is down."""
        return any(inode(ns) == number for ns, number in self._heard.items())

    def wake_for(self, descriptor: int) -> None:
        """End a `wait` when a descriptor is readable, too."""
        self._listener.wake_for(descriptor)

    def wait(self, milliseconds: float) -> set[str] | None:
        """The namespaces that may have other interfaces, as soon as there are some; None once `stopped` is readable."""
        heard = self._listener.wait(milliseconds)
        if heard is None:
            return None
        came = self.join() if self._folders.drain() or heard else set()
        return came | {one.ns for one in heard if one.ns in self._heard}

    def join(self) -> set[str]:
        """Hear the namespaces that are new, and return them; forget those that are gone."""
        there = {ns: inode(ns) for ns in named(self._lab)}
        for ns in [ns for ns, number in self._heard.items() if there.get(ns) != number]:
            del self._heard[ns]
            self._listener.remove(ns)
            self._spaces.forget(ns)
        came = there.keys() - self._heard.keys()
        for ns in came:
            with suppress(FileNotFoundError):
                self._listener.add(ns)
                self._heard[ns] = there[ns]
        return came


@contextmanager
def unless_gone() -> Iterator[None]:
    """Go on if an interface or a namespace is gone. A socket says so once, keeps its packets, and works again later."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENETDOWN, errno.ENODEV, errno.ENOENT):
            raise
