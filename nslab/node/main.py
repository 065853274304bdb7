"""Where `up` starts the spawner: `python -IS main.py DESCRIPTOR` (isolated: the package is put on the path by hand)."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from nslab.node.spawner import serve

    serve(int(sys.argv[1]))
