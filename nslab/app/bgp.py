"""The BGP sessions of a host of a running lab, and the routes that it learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nslab.bgp import status
from nslab.compiler.bgp import speakers
from nslab.dataclass import dataclass
from nslab.errors import NslabError, Refused, UsageError, error_text
from nslab.linux.bird import ask
from nslab.linux.netns import folder

if TYPE_CHECKING:
    from nslab.lab.types import Lab


@dataclass(frozen=True, slots=True)
class BgpStatus:
    """Rows of nslab.bgp.status."""

    sessions: list[dict[str, Any]]
    routes: list[dict[str, Any]]


def bgp_of(lab: Lab, host: str) -> BgpStatus:
    """What a host's BIRD says. UsageError if it has none; NslabError if that does not run or answer."""
    known = speakers(lab)
    if host not in known:
        who = ", ".join(f"{lab.name}/{name}" for name in known)
        none = f"nobody in {lab.name} speaks BGP; with cni: {{plugin: calico, bgp: bird}} in a lab file every node does"
        raise UsageError(f"say who of those that speak BGP: {who}" if who else none)
    try:
        sessions, routes = ask(folder(lab.name), host, status.SESSIONS, status.ROUTES)
    except (ConnectionRefusedError, FileNotFoundError):
        raise NslabError(f"{host} has no running BIRD; nslab up {lab.name} starts it") from None
    except OSError as error:
        raise Refused(f"birdc on {host}", error_text(error)) from error
    return BgpStatus([*status.sessions(sessions)], [*status.routes(routes)])
