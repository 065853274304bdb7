"""The labs of the four proxy modes are one lab with four settings."""

from __future__ import annotations

import pytest

from nslab.lab.find import find
from nslab.lab.types import ProxyMode

MODES = [mode for mode in ProxyMode if mode is not ProxyMode.NONE]


def output(mode: ProxyMode) -> list[str]:
    """What the file says, without what tells it from the others: its first line, its name, its mode."""
    _, *lines = find(f"services-{mode}").read_text().splitlines()
    own = {f"metadata: {{name: services-{mode}}}", f"  proxy: {{mode: {mode}}}"}
    assert own <= {*lines}
    return [line for line in lines if line not in own]


@pytest.mark.parametrize("mode", MODES)
def test_only_the_mode_differs(mode: ProxyMode) -> None:
    assert output(mode) == output(ProxyMode.IPTABLES)
