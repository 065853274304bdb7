"""The desired state of a lab by its name, running or not, or by its file: works without root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nslab.admission.load import load
from nslab.compiler.placement import assign_addresses
from nslab.lab.find import find
from nslab.linux.netns import labs
from nslab.linux.stored_lab import stored_lab

if TYPE_CHECKING:
    from nslab.lab.types import Encapsulation, Lab, ProxyMode


def desired(name: str, encapsulation: Encapsulation | None = None, proxy_mode: ProxyMode | None = None) -> Lab:
    """The lab, with addresses for its pods: that which is up, if this user may read it; else a shipped lab or a file.

    `encapsulation`, `proxy_mode`: with one of them it is the file's, changed so.
    """
    if not (encapsulation or proxy_mode):
        try:
            if name in labs():
                return stored_lab(name)
        except PermissionError:  # only root reads a running lab
            pass
    return assign_addresses(load(find(name), encapsulation, proxy_mode))
