"""The plugin before any lab is up: what it costs, what it offers, how it says no."""

from __future__ import annotations

import re
import subprocess
import sys
from fnmatch import fnmatchcase
from ipaddress import IPv4Address
from pathlib import Path

import pytest

import nslab.pytest_plugin
from nslab.lab.find import names
from nslab.pytest_plugin.address import LabAddress
from nslab.pytest_plugin.evidence import bounded
from nslab.pytest_plugin.running import RunningLab

pytest_plugins = ["pytester"]
PLUGINS = ("-p", "nslab", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
"""Hypothesis takes long to import."""
ORDINARY = "import os\nos.geteuid = lambda: 1000\n"


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess(*PLUGINS, "-W", "error", *arguments)


def test_loading_it_imports_nothing_of_nslab() -> None:
    script = (
        "import sys, pytest, nslab.pytest_plugin; print([name for name in sys.modules if name.startswith('nslab')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['nslab', 'nslab.pytest_plugin']"


def test_tests_without_labs_import_nothing_of_it_either(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import sys

        def test_a(tmp_path):
            assert [name for name in sys.modules if name.startswith("nslab")] == ["nslab", "nslab.pytest_plugin"]

        def test_b():
            assert not "so"
    """)
    result = run(pytester, "--nslab-keep")
    result.assert_outcomes(passed=1, failed=1)
    assert "nslab diff" not in result.stdout.str()


def test_a_conftest_may_name_the_type_of_its_labs(pytester: pytest.Pytester) -> None:
    """A module of nslab.pytest_plugin must not have a fixture's name: once imported, it would take its place."""
    pytester.makeconftest("from nslab.pytest_plugin.running import RunningLab")
    run(pytester, "--fixtures", "-v").stdout.fnmatch_lines(["lab -- *", "make_lab -- *"])
    modules = {path.stem for path in Path(nslab.pytest_plugin.__file__).parent.glob("*.py")}
    assert not modules & nslab.pytest_plugin.FIXTURES


def test_it_documents_itself(pytester: pytest.Pytester) -> None:
    run(pytester, "--markers").stdout.fnmatch_lines(["@pytest.mark.lab(source='lab.yaml', *"])
    output = run(pytester, "--fixtures", "-v").stdout
    output.fnmatch_lines(["lab -- *", "make_lab -- *", "module_lab [[]module scope[]] -- *"], consecutive=False)
    run(pytester, "--help").stdout.fnmatch_lines(["*--nslab-keep *", "*--nslab-require *"])


def test_without_root_labs_are_skipped_with_the_reason(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(ORDINARY)
    pytester.makepyfile("""
        import pytest
        pytestmark = pytest.mark.lab("calico-two-node")

        def test_a(lab):
            raise AssertionError

        def test_b(module_lab):
            raise AssertionError
    """)
    result = run(pytester, "-rs")
    result.assert_outcomes(skipped=2)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["SKIPPED *put sudo before pytest, or use a kernel of your own: nslab vm -- pytest*"])
    result = run(pytester, "--nslab-require")
    result.assert_outcomes(errors=2)
    assert result.ret == 1
    result.stdout.fnmatch_lines(["--nslab-require: labs *put sudo before pytest, or use a kernel of your own: *"])


WRONG = {
    '"calico-two-nod"': "*there is no lab *did you mean calico-two-node*",
    '"mine.yaml"': "*mine.yaml:5:3: unknown field spec.cnii; did you mean cni?",
    '"kind: Lab\\nspec: {nodez: []}\\n"': "*the test's lab:2:8: unknown field spec.nodez; did you mean nodes?",
    '"calico-two-node", proxy_mode="ipsv"': "*there is no ProxyMode 'ipsv'; there are iptables, ipvs, *",
    '"calico-two-node", encapsulation="GRE"': "*there is no Encapsulation 'GRE'; there are IPIP, *",
    '"calico-two-node", scope="class"': "@pytest.mark.lab has no scope 'class'; it is 'function' or 'module'",
    '"calico-two-node", proxy="ipvs"': "@pytest.mark.lab has no proxy; did you mean proxy_mode?",
    '"calico-two-node", cni=1': "@pytest.mark.lab has no cni; known are source, proxy_mode, encapsulation and *",
    '"calico-two-node", "ipvs"': "@pytest.mark.lab takes one argument without a name, the lab; the others are *",
    '"calico-two-node", source="a"': "@pytest.mark.lab has two sources; leave one out",
}
"""What a marker says, and what is said of it."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pytest prints for a test with each marker; nothing is brought up."""
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "conftest.py").write_text("import os\nos.geteuid = lambda: 0\n")
    text = "apiVersion: nslab/v1\nkind: Lab\nmetadata: {name: mine}\nspec:\n  cnii: {plugin: calico}\n"
    (folder / "mine.yaml").write_text(f"{text}  nodes: [{{name: node1}}]\n")
    tests = (f"@pytest.mark.lab({marker})\ndef test_{place}(lab):\n    pass\n" for place, marker in enumerate(WRONG))
    (folder / "test_wrong.py").write_text("\n".join(("import pytest\n", *tests)))
    argv = [sys.executable, "-m", "pytest", *PLUGINS, "-W", "error", "-c", "/dev/null", "--rootdir", str(folder), "."]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True)
    assert f" {len(WRONG)} errors in " in done.stdout, done.stdout
    parts = re.split(r"^_+ ERROR at setup of test_\d+ _+$", done.stdout, flags=re.MULTILINE)
    return dict(zip(WRONG, parts[1:], strict=True))


@pytest.mark.parametrize("marker", WRONG)
def test_a_wrong_marker_is_told(told: dict[str, str], marker: str) -> None:
    lines = told[marker].splitlines()
    assert [line for line in lines if fnmatchcase(line, WRONG[marker])] != [], lines
    assert not [line for line in lines if "During handling of the above exception" in line or "Traceback" in line]


def test_without_a_marker_the_lab_is_beside_the_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("import os\nos.geteuid = lambda: 0\n")
    pytester.makepyfile("def test_a(lab):\n    pass\n")
    run(pytester).stdout.fnmatch_lines(
        ["there is no lab lab.yaml, and no file or folder of that name beside the test*"]
    )


def test_an_address_equals_its_text_and_any_address() -> None:
    seen, plain = LabAddress("10.244.0.1"), IPv4Address("10.244.0.1")
    assert seen == "10.244.0.1" == seen
    assert seen == plain == seen
    assert seen != "10.244.0.2"
    assert seen != "10.244.0.1/32"
    assert {seen} == {"10.244.0.1"} == {LabAddress(plain)}
    assert {"10.244.0.1": "web"}[seen] == "web"  # type: ignore[index]
    assert (seen + 1, min(seen + 1, seen)) == ("10.244.0.2", plain)
    assert repr(seen) == "LabAddress('10.244.0.1')"


def test_waiting_ends_with_what_it_waited_for(tmp_path: Path) -> None:
    lab, seen = RunningLab("mine", tmp_path), iter([False, 0, "there"])
    assert lab.wait(lambda: next(seen)) == "there"

    def never() -> bool:
        raise ConnectionRefusedError("no")

    with pytest.raises(AssertionError, match=re.escape("mine: not within 0.05 s: never")) as caught:
        lab.wait(never, timeout=0.05)
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    with pytest.raises(ZeroDivisionError):
        lab.wait(lambda: 1 / 0)


def test_what_is_long_is_cut() -> None:
    assert bounded(["a", "b"]) == "a\nb"
    lines = bounded([str(number) for number in range(1000)]).splitlines()
    assert (len(lines), lines[-1]) == (9, "… and 992 more lines in diff.txt")


def test_a_traceback_ends_in_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest
        from pathlib import Path
        from nslab.pytest_plugin.running import RunningLab

        @pytest.fixture
        def lab():
            return RunningLab("mine", Path())

        def refuse():
            raise ConnectionRefusedError("the cause")

        def test_cause(lab):
            lab.wait(refuse, timeout=0)

        def test_library(lab):
            from nslab.pytest_plugin.hosts import Host
            Host("mine", "pod", "10.0.0.1", dict).http("https://x")

        def test_mistake(lab):
            from nslab.pytest_plugin.hosts import Host
            Host("mine", "node", "10.0.0.1", None).resolve("other")
    """)
    output = run(pytester, "-k", "not mistake").stdout
    output.fnmatch_lines(
        ["*raise ConnectionRefusedError*", "*>       lab.wait(refuse, timeout=0)", "*Error: 'https://x'*"]
    )
    assert "pytest_plugin/running.py" not in output.str()
    assert "pytest_plugin/talk.py" not in output.str()
    assert "pytest_plugin/talk.py" in run(pytester, "-k", "library", "--full-trace").stdout.str()
    assert "pytest_plugin/hosts.py" in run(pytester, "-k", "mistake").stdout.str()


def test_every_shipped_lab_has_its_checks() -> None:
    from nslab.lab.find import folder

    without = [name for name in names() if not (folder() / name / f"test_{name.replace('-', '_')}.py").exists()]
    assert without == []


@pytest.mark.parametrize("module", ["labs", "running"])
def test_a_report_shows_what_a_terminal_would_obey(pytester: pytest.Pytester, module: str) -> None:
    pytester.makepyfile(f"""
        import pytest
        from nslab.pytest_plugin.{module} import _complain

        @pytest.fixture
        def lab():
            _complain(["a\\x1b[2Jb\\u202ec\\x9bd"])

        def test_a(lab):
            pass

        def test_theirs():
            assert "coloured" == "by pytest"
    """)
    output = run(pytester, "--color=yes").stdout.str()
    assert r"a\x1b[2Jb\u202ec\x9bd" in output
    assert "\x1b[2J" not in output
    assert not {"\u202e", "\x9b"} & {*output}
    assert "\x1b[" in output, "its colours are pytest's"
