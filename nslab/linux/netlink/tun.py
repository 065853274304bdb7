"""Persistent TUN devices, as `ip tuntap` makes them."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from nslab.objects.plan import Remove, Replace
from nslab.objects.tunnels import Tun

if TYPE_CHECKING:
    from nslab.objects.plan import Step

_TUNSETIFF, _TUNSETPERSIST, _SIOCSIFMTU = 0x400454CA, 0x400454CB, 0x8922
_IFF_TUN, _IFF_NO_PI = 0x1, 0x1000


def run(step: Step) -> None:
    """Make, change or remove a TUN in this thread's namespace."""
    assert isinstance(step.obj, Tun)
    name = step.obj.name.encode()
    if not isinstance(step, Replace):
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", name, _IFF_TUN | _IFF_NO_PI))
            fcntl.ioctl(tun, _TUNSETPERSIST, 0 if isinstance(step, Remove) else 1)
        finally:
            os.close(tun)
    if not isinstance(step, Remove):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
            fcntl.ioctl(any_socket, _SIOCSIFMTU, struct.pack("16si20x", name, step.obj.mtu))
