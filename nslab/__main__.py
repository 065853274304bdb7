"""`python -m nslab`, and `nslab`. It resets inherited signal settings before it imports the rest."""

import _signal  # type: ignore[import-not-found]  # `signal` without the half of the library that it imports
import os

# Ctrl-C ends nslab without a message, like other programs; for changes that are rolled back, see nslab.linux.signals.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
# A process inherits ignored and blocked signals; if SIGCHLD is ignored, wait(2) cannot return a child's status.
_signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
_signal.pthread_sigmask(_signal.SIG_SETMASK, ())

try:
    from nslab.cli.app import main
except (MemoryError, SystemError, OSError) as error:  # SystemError: Python lost a MemoryError on its way
    _ENOMEM = 12
    if isinstance(error, OSError) and error.errno != _ENOMEM:
        raise
    os.write(2, b"nslab: there is not enough memory to start; `ulimit -v` shows how much a process may have\n")
    os._exit(4)

if __name__ == "__main__":
    main()
