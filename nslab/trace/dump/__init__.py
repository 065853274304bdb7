"""Dumps of real nodes, which `nslab dump-node`'s script takes: a packet's way through them, computed (pure).

    host = DumpedHost(Dump("node1", files))             # files.py, host.py: what each program printed, by file name
    DumpPredictor([host, ...]).journeys(begin, target)  # predictor.py

All of it is a stranger's text: what its programs would not print is refused by one sentence with file and place.
"""
