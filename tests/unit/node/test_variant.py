"""Which iptables is meant by `iptables`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nslab.components.kubeproxy import variant

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_it_is_what_the_name_leads_to(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Debian: by way of /etc/alternatives to a program that is called by many names."""
    monkeypatch.setattr(variant, "PATH", str(tmp_path))
    multi = tmp_path / f"xtables-{kind}-multi"
    multi.touch(mode=0o755)
    for name, leads in ((f"iptables-{kind}-restore", multi.name), ("iptables-restore", f"iptables-{kind}-restore")):
        (tmp_path / name).symlink_to(leads)
    assert variant.exact("iptables") == f"iptables-{kind}"
    assert variant.exact(f"iptables-{kind}") == f"iptables-{kind}"


def test_what_cannot_be_told_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(variant, "PATH", str(tmp_path))
    assert variant.exact("iptables") == "iptables"
    (tmp_path / "iptables-restore").touch(mode=0o755)
    assert variant.exact("iptables") == "iptables"
