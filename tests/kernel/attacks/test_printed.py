"""What a container printed, and what somebody named his interface, is shown and not obeyed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kernel.labkit import OwnLab, nslab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HIDING = "printf '\\033[2J\\033[8m\\302\\233\\342\\200\\256last words\\n'; exit 3"
"""ESC, a C1 control, and U+202E RIGHT-TO-LEFT OVERRIDE."""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[OwnLab]:
    made = OwnLab(tmp_path, "kubenet-two-node")
    yield made
    made.clear()


def test_last_words_are_shown(lab: OwnLab) -> None:
    pod = "spec: {nodeName: node1, restartPolicy: Never, containers: [{name: app, ports: [{containerPort: 1}], command:"
    text = f'---\napiVersion: v1\nkind: Pod\nmetadata: {{name: hiding}}\n{pod} [sh, -c, "{HIDING}"]}}]}}\n'
    lab.write(lab.file.read_text() + text.replace("\\", "\\\\"))
    output = nslab("up", lab.file)
    assert output.returncode == 1
    assert r"\x1b[2J\x1b[8m\x9b\u202elast words" in output.stderr
    assert not {"\x1b", "\x9b", "\u202e"} & {*output.stdout, *output.stderr}
    assert nslab("logs", f"{lab.name}/hiding").stdout == "\x1b[2J\x1b[8m\x9b\u202elast words\n", "a log is as it is"


def test_names_that_the_kernel_takes_are_shown(lab: OwnLab) -> None:
    lab.up()
    lab.sh("node1", "ip link add \"$(printf '\\033[8mx;id')\" type bridge")
    for call in (("diff", lab.name), ("inspect", f"{lab.name}/node1"), ("inspect", lab.name, "-o", "json")):
        output = nslab(*call)
        assert "[8mx;id" in output.stdout
        assert "\x1b" not in output.stdout + output.stderr
