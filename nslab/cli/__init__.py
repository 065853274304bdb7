"""The command line: the only place that prints."""

import gc

# A command ends within a second: frequent garbage collection would take a tenth of its time and free almost nothing.
gc.set_threshold(100_000)
