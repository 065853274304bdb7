"""Which kind of iptables it is, and which nft: what is written at a stroke with one, the other takes in portions."""

from __future__ import annotations

import os
import shutil

from nslab.ruletext.nft import nft_narrows
from nslab.runtime.trust import PROGRAMS as PATH


def exact(variant: str) -> str:
    """`iptables-nft` or `iptables-legacy` for what is called `iptables`, by where the name leads to."""
    leads = os.path.realpath(shutil.which(f"{variant}-restore", path=PATH) or "")
    kind = next((kind for kind in ("nft", "legacy") if f"-{kind}" in os.path.basename(leads)), "")
    full = f"iptables-{kind}"
    return full if kind and shutil.which(f"{full}-restore", path=PATH) else variant


def narrows() -> bool:
    """Whether this nft may be told by listings how little it needs to read."""
    import subprocess  # in nftables mode alone

    program = shutil.which("nft", path=PATH)
    if program is None:
        return False
    return nft_narrows(subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout)
