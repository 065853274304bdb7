"""A stand-in for an image, which nslab does not pull: it answers on the container's declared ports, as agnhost would.

    standin [--pod NAME] --container NAME --image IMAGE [--tcp PORT] [--udp PORT] [--sctp PORT] [--dns PORT]
    standin --exit

HTTP has agnhost's /hostname, /clientip, /echo and /healthz; any other path returns the pod, the container and the
image. UDP and SCTP have agnhost's commands; DNS, over UDP and TCP, is the cluster's. With --exit it exits
with 0 at once, as an init container or a Job does.
"""

from __future__ import annotations

import os
import signal
import socket
import sys

from nslab.components.images import agnhost, kubedns, serving
from nslab.components.runtime.loop import Loop
from nslab.runtime.handlers import handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Never

    from nslab.wire import http

KNOWN = ("/hostname", "/hostName", "/clientip", "/echo", "/healthz")


def main(arguments: Sequence[str], report: int = -1, records: int = -1) -> Never:
    """Run a stand-in until a signal comes; write `ready` to the descriptor `report` when all ports are open.

    `records`: a descriptor of the folder with the cluster's DNS records.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        # PID 1 of a pid namespace gets only signals that it has a handler for.
        handle(number, lambda *_: os._exit(0))
    loop = Loop()
    try:
        ends = _serve(loop, arguments, kubedns.RecordsFile(records))
    except OSError as error:
        serving.fail(error.strerror or str(error), report)
    except ValueError as error:
        serving.fail(str(error), report)
    if report >= 0:
        serving.quietly()
        os.write(report, b"ready\n")
        os.close(report)
    if ends:
        os._exit(0)
    while True:
        loop.turn()


def _serve(loop: Loop, arguments: Sequence[str], zone: kubedns.RecordsFile) -> bool:
    """Open all ports; return whether the stand-in has nothing to serve and exits (--exit)."""
    words, who = list(arguments), {"--pod": os.uname().nodename, "--container": "", "--image": ""}
    while words:
        flag = words.pop(0)
        if flag == "--exit":
            serving.log("a stand-in: nothing to do")
            return True
        if not words:
            raise ValueError(f"flag needs an argument: {flag}")
        value = words.pop(0)
        if flag in who:
            who[flag] = value
        elif flag == "--dns":
            _open_dns(loop, int(value), zone)
        else:
            _open(loop, flag, int(value), ", ".join(f"{name[2:]} {value}" for name, value in who.items()))
    return False


def _open(loop: Loop, flag: str, port: int, who: str) -> None:
    if flag == "--tcp":
        listener = serving.bind(socket.SOCK_STREAM, port, "tcp")
        serving.accept(loop, listener, lambda peer: _Peer(loop, peer, who))
    elif flag == "--udp":
        udp = serving.bind(socket.SOCK_DGRAM, port, "udp")
        loop.watch(udp.fileno(), lambda: agnhost.answer_udp(udp))
    elif flag == "--sctp":
        listener = serving.bind(socket.SOCK_STREAM, port, "sctp", socket.IPPROTO_SCTP)
        serving.accept(loop, listener, lambda peer: agnhost.SctpPeer(loop, peer))
    else:
        raise ValueError(f"unknown flag: {flag}")
    serving.log(f"a stand-in answers on {flag[2:]} port {port}")


def _open_dns(loop: Loop, port: int, zone: kubedns.RecordsFile) -> None:
    udp = serving.bind(socket.SOCK_DGRAM, port, "dns")
    kubedns.serve(loop, zone, udp, serving.bind(socket.SOCK_STREAM, port, "dns"))
    serving.log(f"a stand-in answers on DNS port {port}")


class _Peer(agnhost.HttpPeer):
    """A connection to a stand-in."""

    def __init__(self, loop: Loop, peer: socket.socket, who: str) -> None:
        super().__init__(loop, peer)
        self._who = who

    def answer(self, request: http.Request) -> tuple[int, str]:
        """Return status and body of the answer."""
        if request.path in KNOWN:
            return super().answer(request)
        serving.log(f"GET {request.path}")
        return 200, f"{self._who}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
