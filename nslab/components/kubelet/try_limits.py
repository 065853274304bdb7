"""The trial of control groups in `nslab doctor`: `python -IS try_limits.py` exits with 0 if they bound containers."""

import os
import sys

if __name__ == "__main__":
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))))
    from nslab.components.runtime.rootfs import namespaces_bound_pids
    from nslab.runtime import cgroups

    found = cgroups.hierarchies()
    if "unified" not in found and not {"pids", "memory"} <= found.keys():
        unlimited = "memory" if namespaces_bound_pids() else "memory and number of processes"
        sys.exit(
            f"{cgroups.ROOT} has no control groups for pids and memory: nslab cannot limit containers' {unlimited}"
        )
