"""Where no User-Mode Linux runs, that is said in a sentence, and not by its panic."""

from __future__ import annotations

import pytest

from nslab.linux.vm.boot import lacks_room

PLAIN = "processor : 0\nflags\t\t: fpu avx512f pku\n"
AMX = "processor : 0\nflags\t\t: fpu avx512f pku amx_bf16 amx_tile amx_int8\n"


@pytest.mark.parametrize(
    ("release", "cpuinfo", "lacks"),
    [("6.1.176", PLAIN, False), ("6.1.176", AMX, True), ("6.12.9-1", AMX, True), ("6.13", AMX, False)],
)
def test_an_old_one_cannot_keep_the_registers_of_a_processor_with_amx(release: str, cpuinfo: str, lacks: bool) -> None:
    assert lacks_room(release, cpuinfo) is lacks
