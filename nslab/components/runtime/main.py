"""Where `up` starts the spawner: `python -IS main.py SOCKET PODS RUN` (isolated; we put the package on the path)."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
    from nslab.components.runtime.spawner import serve

    try:
        serve(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    except Exception as error:  # `up` hears that we are gone; it may have taken the lab away itself
        from nslab.components.runtime.lastwords import text

        sys.exit(f"nslab-spawner: {text(error)}")
