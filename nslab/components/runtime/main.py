"""The spawner's main program: `python -IS main.py SOCKET` (isolated, so it adds the package to sys.path)."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
    from nslab.components.runtime.spawner import serve

    try:
        serve(int(sys.argv[1]))
    except Exception as error:  # `up` notices the exit; it may have removed the lab itself
        from nslab.components.runtime.lastwords import text

        sys.exit(f"nslab-spawner: {text(error)}")
