"""The variants of iptables and nft: they differ in how much one run of the program can write."""

from __future__ import annotations

import os
import shutil

from nslab.ruletext.nft import nft_narrows
from nslab.runtime.trust import PROGRAMS as PATH


def exact(variant: str) -> str:
    """Resolve `iptables` to `iptables-nft` or `iptables-legacy`, by its symlinks; otherwise `variant` itself."""
    leads = os.path.realpath(shutil.which(f"{variant}-restore", path=PATH) or "")
    kind = next((kind for kind in ("nft", "legacy") if f"-{kind}" in os.path.basename(leads)), "")
    full = f"iptables-{kind}"
    return full if kind and shutil.which(f"{full}-restore", path=PATH) else variant


def narrows() -> bool:
    """Whether listings at the end of a text narrow what this nft reads (see nslab.ruletext.nft)."""
    import subprocess  # in nftables mode alone

    program = shutil.which("nft", path=PATH)
    if program is None:
        return False
    return nft_narrows(subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout)
