"""One call: gives the server its streams, folder, umask, variables and words, passes signals on, and ends alike.

`python -I -S client.py SOCKET WORD…`: what is imported is built in, so this starts in a tenth of nslab's time.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import posix
import sys


def main() -> None:
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    server.connect(sys.argv[1])
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, lambda number, _: server.send(bytes([number])))
    words = [word.encode(errors="surrogateescape") for word in sys.argv[2:]]
    variables = [b"=".join(variable) for variable in posix.environ.items()]
    streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
    mask = posix.umask(0)
    request = b"\0".join((posix.getcwdb(), b"%d" % mask, b"%d" % len(words), *words, *variables))
    server.sendmsg([request], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    status = int(server.recv(8))
    if status < 0:
        if -status != _signal.SIGKILL:
            _signal.signal(-status, _signal.SIG_DFL)
        posix.kill(posix.getpid(), -status)
    posix._exit(status)


main()
