"""CNI plugins that fail, hang, or are not there: each has a sentence, nothing is left, and what ran runs on."""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from nslab.admission.load import load
from nslab.app.up import up
from nslab.errors import Missing, Refused, UsageError
from nslab.lab.types import Cni
from nslab.linux.cni import node as plugins
from tests.kernel import cnikit
from tests.kernel.cnikit import BRIDGE, FOREIGN, MARKS, ONE_NODE, PASS, PTP, cni, conf, plugin, probed
from tests.kernel.labkit import NSLAB, ROOT, OwnLab, nslab, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = MARKS
own = cnikit.own


ERROR = '{"cniVersion": "1.0.0", "code": 100, "msg": "no nails", "details": "ask the smith"}'
UNWILLING = {
    "refuse": (
        f"test $CNI_COMMAND = DEL && exit\necho '{ERROR}'; exit 1\n",
        "refuse: error 100: no nails: ask the smith",
    ),
    "mute": ("test $CNI_COMMAND = DEL || exit 3\n", "mute ended with status 3 at ADD and printed no error"),
    "chatty": (
        "test $CNI_COMMAND = DEL || echo done, thank you; echo and so on >&2\n",
        "chatty succeeded, but printed no JSON: done, thank you\n    and so on",
    ),
    "crash": (
        "test $CNI_COMMAND = DEL || kill -SEGV $$\n",
        "crash was killed by signal 11 at ADD and printed no error",
    ),
    "hang": ("test $CNI_COMMAND = DEL || sleep 60\n", "hang did not end within 1 s and was killed"),
}


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "SECONDS", 1.0)


def refused(lab: OwnLab, setting: Cni) -> str:
    with pytest.raises(Refused) as caught:
        up(load(lab.file, cni=setting))
    assert caught.value.code == 3
    return str(caught.value)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", UNWILLING)
def test_a_plugin_that_fails_leaves_nothing_and_is_quoted(name: str, own: OwnLab, tmp_path: Path) -> None:
    body, words = UNWILLING[name]
    plugin(tmp_path / "bin", name, body)
    second = json.loads(BRIDGE.read_text())["plugins"][0]
    text = conf(second, {"type": name})
    output = refused(own, Cni(text, (str(tmp_path / "bin"),)))
    assert output == f"CNI ADD of network pods for pod-a on node1: {words}"
    assert own.left() == []
    pod = own.ns("pod-a")
    assert (tmp_path / "bin" / "log").read_text().splitlines() == [f"ADD {name} {pod}", f"DEL {name} {pod}"]


@pytest.mark.usefixtures("impatient")
def test_a_running_lab_is_as_it_was_when_plugins_fail(own: OwnLab, tmp_path: Path) -> None:
    own.edit(", hostPort: 8088", "")
    cni(own, BRIDGE)
    plugin(tmp_path / "bin", "late", f'test "$CNI_COMMAND ${{CNI_NETNS##*.}}" = "ADD pod-d" && exit 9\n{PASS}')
    text = conf(PTP, {"type": "late"})
    output = refused(own, Cni(text, (str(tmp_path / "bin"),)))
    assert output.startswith("CNI ADD of network pods for pod-d on node2: late ended with status 9")
    assert own.differences() == []
    probed(own)


def test_two_pods_with_one_address_are_refused(own: OwnLab, tmp_path: Path) -> None:
    own.write(ONE_NODE.format(name=own.name, nodes="{name: node1}, {name: node2}"))
    (tmp_path / "foreign.conf").write_text(conf(FOREIGN))
    done = nslab("up", own.file)
    assert done.returncode == UsageError.code
    assert 'each node needs a range of its own: write "{{ node.podCIDR }}"' in done.stderr
    assert own.left() == []


@contextmanager
def hanging(own: OwnLab, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`nslab cni` at work, waiting for a plugin that hangs. Whatever ends it, DEL follows ADD, and nothing is left."""
    folder = tmp_path / "bin"
    plugin(folder, "slow", "test $CNI_COMMAND = DEL || sleep 60\n")
    (tmp_path / "x.conflist").write_text(conf(json.loads(BRIDGE.read_text())["plugins"][0], {"type": "slow"}))
    argv = [*NSLAB, "cni", str(own.file), "--conf", str(tmp_path / "x.conflist"), "--plugin", str(folder)]
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until((folder / "log").exists, 20)
        yield process
    assert own.left() == []
    assert [line.split()[0] for line in (folder / "log").read_text().splitlines()] == ["ADD", "DEL"]


def test_an_interrupt_is_heeded_while_a_plugin_hangs(own: OwnLab, tmp_path: Path) -> None:
    with hanging(own, tmp_path) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(15) == 130


def test_killed_in_the_middle_del_is_still_due(own: OwnLab, tmp_path: Path) -> None:
    with hanging(own, tmp_path) as process:
        process.kill()
        process.wait()
        assert own.down() != ""


def test_a_plugin_that_is_not_there_is_said_before_anything_is_made(own: OwnLab, tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text(conf({"type": "nonesuch", "ipam": {"type": "host-local"}}))
    done = cni(own, tmp_path / "x.conf", "--plugin", tmp_path, status=Missing.code)
    assert done.stderr.startswith(
        f"nslab: no CNI plugin nonesuch in {tmp_path}, /usr/lib/cni, /usr/libexec/cni, /opt/cni/bin; "
    )
    assert own.left() == []


@pytest.mark.parametrize(
    ("text", "option", "output"),
    [
        ("{", "/usr/lib/cni", "x.conf: line 1, column 2: Expecting property name enclosed in double quotes"),
        (conf({"type": "bridge"}), "/none", "there is no /none: --plugin takes a CNI plugin, or a directory of them"),
        (conf({"type": "bridge"}), "/usr/lib/cni/ptp", "x.conf names bridge, and --plugin is ptp"),
    ],
)
def test_wrong_usage_is_one_sentence(text: str, option: str, output: str, own: OwnLab, tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text(text)
    done = cni(own, tmp_path / "x.conf", "--plugin", option, status=2)
    assert done.stderr.replace(f"{tmp_path}/", "") == f"nslab: {output}\n"
