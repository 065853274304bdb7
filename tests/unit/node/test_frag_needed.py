from __future__ import annotations

import struct

from nslab.wire.icmp import checksum, fragmentation_needed

PACKET = bytes.fromhex("4500059400004000400100001464424414 6f9c07".replace(" ", "")) + b"\x08\x00" + bytes(1400)


def test_the_sum_is_that_of_rfc_1071() -> None:
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
    assert checksum(b"\x01") == 0xFFFF - 0x0100


def test_the_sender_hears_how_much_fits_and_of_what() -> None:
    output = fragmentation_needed(PACKET, 1380)
    assert output[:2] == bytes((3, 4))
    assert struct.unpack("!H", output[6:8]) == (1380,)
    assert output[8:] == PACKET[:28]
    assert checksum(output) == 0, "a receiver's own sum over all of it comes out even"
