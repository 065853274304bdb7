"""`python -m nslab`, and `nslab`. What the caller has set up strangely is put right before the rest is imported."""

import _signal  # type: ignore[import-not-found]  # `signal` without the half of the library that it imports

# Ctrl-C ends us without a word, as it ends others; but where something is to be taken back, see nslab.linux.stop.
if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
# What is ignored or blocked is inherited; whoever ignores SIGCHLD never learns how a child ended.
_signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
_signal.pthread_sigmask(_signal.SIG_SETMASK, ())

from nslab.cli.app import main  # noqa: E402

if __name__ == "__main__":
    main()
