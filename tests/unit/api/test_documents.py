"""Short cuts of reading give what the long way gives."""

from __future__ import annotations

import sys

from nslab.api.addresses import address_fault, valid_address
from nslab.api.documents import UNPRINTABLE


def test_what_python_calls_printable_may_be_in_yaml() -> None:
    printable = "".join(filter(str.isprintable, map(chr, range(sys.maxunicode + 1))))
    assert len(printable) > 100_000
    assert UNPRINTABLE.search(printable) is None


def test_an_address_without_fault_is_read_as_it_is_written() -> None:
    words = ("0.0.0.0", "1.2.3.4", "10.96.0.255", "255.255.255.255")
    assert [address_fault(word) for word in words] == [""] * 4
    assert [str(valid_address(word)) for word in words] == [*words]
