"""The command line: the only place that prints."""

import gc

# A command is over in a second: looking for cycles ever again takes a tenth of its time, and finds next to nothing.
gc.set_threshold(100_000)
