"""`python -m nslab`, and `nslab`."""

import signal

# While modules are imported there is nothing to take back: Ctrl-C ends us without a word.
if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from nslab.cli.app import main

if __name__ == "__main__":
    main()
