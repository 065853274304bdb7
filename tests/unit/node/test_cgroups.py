"""Control groups, read while they come and go."""

from pathlib import Path

import pytest

from nslab.runtime import cgroups


def test_a_group_that_is_removed_while_its_tree_is_read_has_no_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = tmp_path / "pids" / cgroups.name(str(tmp_path))
    (lab / "lab").mkdir(parents=True)  # without a file of processes: only its listing was in time
    (lab.parent / "cgroup.procs").touch()
    (lab / "cgroup.procs").write_text("0\n41\n", encoding="ascii")
    monkeypatch.setattr(cgroups, "ROOT", str(tmp_path))

    assert cgroups.pids(str(tmp_path)) == {41}
