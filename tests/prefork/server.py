"""The server: `python -m tests.prefork.server SOCKET` imports nslab, and forks for each call.

A request is one message: the folder, the umask, the number of words, the words, the variables; with it come the three
standard streams. The words are Python's own: `-m MODULE …` or `-c TEXT …`. A later byte is a signal for the call. The
answer is its status, as subprocess has it. If a client is killed, its call is, too. The server ends when its standard
input does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import runpy
import select
import signal
import socket
import sys
import threading

import nslab
from nslab.admission.load import load, parse_stored
from nslab.cli.commands import tree
from nslab.cli.verbs import VERBS
from nslab.compiler import compile_lab
from nslab.compiler.placement import assign_addresses
from nslab.lab.dump import dump
from nslab.lab.find import find
from nslab.objects.needs import FULL
from nslab.objects.plan import diff

LARGEST = 1 << 18
"""Bytes of a request."""
OTHERS = ("nslab.components", "nslab.pytest_plugin", "nslab.linux.vm", "nslab.cli.top_page", "nslab.__main__")
"""What no call imports: it is started as processes of its own."""
LATER = ("jinja2", "shlex", "traceback", "yaml", "zoneinfo")
"""What calls import when they need it."""


def prepare() -> None:
    """Import everything, and use what is compiled when it is first used."""
    for module in pkgutil.walk_packages(nslab.__path__, "nslab."):
        if not module.name.startswith(OTHERS):
            importlib.import_module(module.name)
    for name in LATER:
        importlib.import_module(name)
    tree(VERBS)
    for lab in ("calico-two-node", "services-nftables"):
        stored = dump(assign_addresses(load(find(lab))))
        diff((), compile_lab(parse_stored(stored, lab), FULL))


class Server:
    """Calls that run, by their process numbers."""

    def __init__(self, path: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(64)
        self._calls: dict[int, socket.socket] = {}
        self._ended, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def serve(self) -> None:
        """Until standard input ends."""
        while True:
            waited = [0, self._ended, self._listener, *self._calls.values()]
            ready, *_ = select.select(waited, (), ())
            if 0 in ready:
                return
            if self._ended in ready:
                os.read(self._ended, 4096)
                self._answer()
            for pid, client in [*self._calls.items()]:
                if client in ready:
                    pass_on(pid, client)
            if self._listener in ready:
                self._begin(self._listener.accept()[0])

    def _begin(self, client: socket.socket) -> None:
        request, streams, *_ = socket.recv_fds(client, LARGEST, 3)
        if not request:
            client.close()
            return
        pid = os.fork()
        if pid == 0:
            call(request, streams)
        for stream in streams:
            os.close(stream)
        self._calls[pid] = client

    def _answer(self) -> None:
        """Tell the clients of ended calls."""
        for pid in [*self._calls]:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                with contextlib.suppress(OSError):
                    self._calls[pid].send(b"%d" % os.waitstatus_to_exitcode(status))
                self._calls.pop(pid).close()


def pass_on(pid: int, client: socket.socket) -> None:
    """A client's signal to its call; if there is no client any more, the last one."""
    number = b""
    with contextlib.suppress(OSError):
        number = client.recv(1)
    os.kill(pid, number[0] if number else signal.SIGKILL)


def call(request: bytes, streams: list[int]) -> None:
    """Be the call: nothing of the server but what it has imported."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    folder, mask, count, *rest = request.split(b"\0")
    words, variables = rest[: int(count)], rest[int(count) :]
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 1024)
    os.chdir(folder)
    os.umask(int(mask))
    os.environb.clear()
    os.environb.update(variable.partition(b"=")[::2] for variable in variables)
    sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os._exit(status([*map(os.fsdecode, words)]))


def status(words: list[str]) -> int:
    """Run a module or a text as Python does, and end as the interpreter does."""
    option, program, *arguments = words
    sys.argv = [program if option == "-m" else option, *arguments]
    left = 0
    try:
        if option == "-m":
            runpy.run_module(program, run_name="__main__", alter_sys=True)
        else:
            exec(program, {"__name__": "__main__"})
    except SystemExit as leave:
        left = leave.code if isinstance(leave.code, int) else 0 if leave.code is None else 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        left = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return left


if __name__ == "__main__":
    prepare()
    gc.collect()
    gc.freeze()  # a child shares what nobody writes to
    server = Server(sys.argv[1])
    os.write(1, b"+")
    server.serve()
