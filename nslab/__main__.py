"""`python -m nslab`, and `nslab`. What the caller has set up strangely is put right before the rest is imported."""

import _signal  # type: ignore[import-not-found]  # `signal` without the half of the library that it imports
import os

# Ctrl-C ends us without a word, as it ends others; but where something is to be taken back, see nslab.linux.signals.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
# What is ignored or blocked is inherited; whoever ignores SIGCHLD never learns how a child ended.
_signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
_signal.pthread_sigmask(_signal.SIG_SETMASK, ())

try:
    from nslab.cli.app import main
except (MemoryError, OSError) as error:
    _ENOMEM = 12
    if isinstance(error, OSError) and error.errno != _ENOMEM:
        raise
    os.write(2, b"nslab: there is not enough memory to begin; `ulimit -v` says how much a process may have\n")
    os._exit(4)

if __name__ == "__main__":
    main()
