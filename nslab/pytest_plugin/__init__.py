"""Labs for pytest: `@pytest.mark.lab("calico-two-node")` on a test, and the fixture `lab`.

pytest loads this module wherever nslab is installed, so it imports nothing of nslab until a test requests a lab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from nslab.pytest_plugin.labs import Labs
    from nslab.pytest_plugin.running import RunningLab

FIXTURES = {"lab", "module_lab", "make_lab"}
MARKER = (
    "lab(source='lab.yaml', *, proxy_mode=None, encapsulation=None, scope='function'): the lab that the fixtures `lab` "
    "and `module_lab` bring up: one that comes with nslab, a file or folder beside the test, or YAML"
)
_LABS: pytest.StashKey[Labs] = pytest.StashKey()
_KEPT: pytest.StashKey[dict[str, str]] = pytest.StashKey()


class LabRequest(NamedTuple):
    """The arguments of a marker. `source`: a lab that comes with nslab, a file or folder beside the test, or YAML."""

    source: str = "lab.yaml"
    proxy_mode: str | None = None
    encapsulation: str | None = None
    scope: Literal["function", "module"] = "function"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options --nslab-keep and --nslab-require."""
    group = parser.getgroup("nslab", "nslab: labs for tests")
    group.addoption("--nslab-keep", action="store_true", help="keep the lab of a failed test, and say how to enter it")
    group.addoption(
        "--nslab-require",
        action="store_true",
        help="fail a test, instead of skipping it, if its lab cannot come up here",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker `lab`."""
    config.addinivalue_line("markers", MARKER)
    config.stash[_KEPT] = {}


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> RunningLab:
    """The lab of this test's marker, up; without a marker, the lab of `lab.yaml` beside the test."""
    wanted = _request(request.node)
    if wanted.scope == "module":
        found: RunningLab = request.getfixturevalue("_module_labs")(wanted)
        return found
    made: RunningLab = request.getfixturevalue("make_lab")(wanted.source, wanted.proxy_mode, wanted.encapsulation)
    return made


@pytest.fixture
def make_lab(request: pytest.FixtureRequest) -> Iterator[Callable[..., RunningLab]]:
    """A function that brings labs up, any number of them: `make_lab("calico-two-node", encapsulation="VXLAN")`."""
    with _labs(request.config).borrowed() as up:

        def make(source: str | Path, proxy_mode: str | None = None, encapsulation: str | None = None) -> RunningLab:
            return up(str(source), request.path.parent, proxy_mode, encapsulation)

        yield make


@pytest.fixture(scope="module")
def module_lab(request: pytest.FixtureRequest) -> RunningLab:
    """The lab of this module's marker (`pytestmark = pytest.mark.lab(…)`), up while the module's tests run."""
    found: RunningLab = request.getfixturevalue("_module_labs")(_request(request.node))
    return found


@pytest.fixture(scope="module")
def _module_labs(request: pytest.FixtureRequest) -> Iterator[Callable[[LabRequest], RunningLab]]:
    """A module's labs: one for each distinct request of its tests."""
    with _labs(request.config).borrowed() as up:
        made: dict[LabRequest, RunningLab] = {}

        def get(wanted: LabRequest) -> RunningLab:
            if wanted not in made:
                made[wanted] = up(wanted.source, request.path.parent, wanted.proxy_mode, wanted.encapsulation)
            return made[wanted]

        yield get


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Restart the capture, so that a failed test shows only its own packets."""
    for lab in _live(item):
        lab.packets.start()


# The outermost wrapper: other plugins have decided by then what a failure means (xfail, rerun).
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the evidence of its labs to a failed test's report, and hide nslab's frames."""
    raised = call.excinfo if FIXTURES & {*getattr(item, "fixturenames", ())} else None
    ours = False
    if raised:
        from nslab.pytest_plugin import tracebacks

        ours = any(tracebacks.is_ours(entry.path) for entry in raised.traceback)
        if ours and not item.config.getoption("fulltrace"):
            tracebacks.hide(raised)
    report = yield
    if ours:
        from nslab.pytest_plugin.reports import show_controls

        show_controls(report)
    labs = _live(item) if report.failed else []
    if labs:
        from nslab.pytest_plugin.evidence import how_to_enter, sections

        keep = item.config.getoption("--nslab-keep")
        for lab in labs:
            lab.failed = True
            report.sections += sections(lab)
            if keep:
                report.sections.append((f"nslab: {lab.name} is kept", how_to_enter(lab)))
        if keep:
            # An attribute of the report reaches the terminal's process from a worker's, too (pytest-xdist).
            report.nslab_kept = {lab.name: how_to_enter(lab) for lab in labs}  # type: ignore[attr-defined]
    return report


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session) -> Generator[None, object, object]:
    """Remove all labs of the session, except those that are kept."""
    try:
        return (yield)
    finally:
        if labs := session.config.stash.get(_LABS, None):
            labs.down_all()


class _Summary:
    """Collects the kept labs in the terminal's process."""

    def __init__(self, kept: dict[str, str]) -> None:
        self._kept = kept

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._kept.update(getattr(report, "nslab_kept", {}))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Collect kept labs, with --nslab-keep."""
    if session.config.getoption("--nslab-keep"):
        session.config.pluginmanager.register(_Summary(session.config.stash[_KEPT]), "nslab-kept")


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print at the end which labs are still up, and how to enter them."""
    if kept := config.stash[_KEPT]:
        terminalreporter.section("nslab: labs that are kept")
        for name, words in kept.items():
            terminalreporter.write_line(f"{name}\n{words}")


def _request(node: Any) -> LabRequest:
    marker = node.get_closest_marker("lab")
    if marker and (wrong := _wrong(marker)):
        pytest.fail(f"@pytest.mark.lab {wrong}", pytrace=False)
    return LabRequest(*marker.args, **marker.kwargs) if marker else LabRequest()


def _wrong(marker: pytest.Mark) -> str:
    """What is wrong with a marker, the rest of a sentence; nothing if it is right."""
    if len(marker.args) > 1:
        return "takes one argument without a name, the lab; the others are NAME=VALUE"
    if marker.args and "source" in marker.kwargs:
        return "has two sources; leave one out"
    known = LabRequest._fields
    if unknown := next((name for name in marker.kwargs if name not in known), ""):
        from nslab.api.words import did_you_mean

        return f"has no {unknown}{did_you_mean(unknown, known)}"
    scope = marker.kwargs.get("scope", "function")
    return "" if scope in ("function", "module") else f"has no scope {scope!r}; it is 'function' or 'module'"


def _labs(config: pytest.Config) -> Labs:
    """The labs of this process; imports nslab at the first request."""
    if _LABS not in config.stash:
        from nslab.pytest_plugin.labs import Labs

        keep, require = (bool(config.getoption(option)) for option in ("--nslab-keep", "--nslab-require"))
        config.stash[_LABS] = Labs(keep=keep, require=require)
    return config.stash[_LABS]


def _live(item: pytest.Item) -> list[RunningLab]:
    """The labs that are up now, if the item uses a fixture of labs."""
    labs = item.config.stash.get(_LABS, None)
    return list(labs.live) if labs and FIXTURES & {*getattr(item, "fixturenames", ())} else []
