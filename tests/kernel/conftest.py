"""Tests on this machine's kernel, as root: what they may rely on, and what of the machine must be as it was."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nslab import syscall
from nslab.app.down import down
from nslab.pytest_plugin.running import RunningLab
from tests.kernel.labkit import OwnLab, left

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is ours, and skip it all where it cannot run."""
    ours = [item for item in items if item.path.is_relative_to(HERE)]
    reason = _unable() if ours else ""
    for item in ours:
        item.add_marker("root")
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def _unable() -> str:
    if os.geteuid() != 0:
        return "needs root"
    child = os.fork()
    if child == 0:
        try:
            syscall.unshare(syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID)
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    failed = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"this kernel gives root no namespaces: {os.strerror(failed)}" if failed else ""


@pytest.fixture
def lab_name() -> Iterator[Callable[[], str]]:
    """Gives names of labs that nobody else on this machine uses; what is left of such a lab is taken down."""
    names: list[str] = []

    def new() -> str:
        names.append(f"t{secrets.token_hex(4)}")
        return names[-1]

    yield new
    for name in names:
        down(name)


ONE_NODE = """\
apiVersion: nslab/v1
kind: Lab
metadata: {name: NAME}
spec: {nodes: [{name: n1}], dns: {address: 10.96.0.10}}
---
"""


@pytest.fixture
def one_node(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[OwnLab]:
    """A lab, not up yet, of one node with DNS and the objects that the module calls OBJECTS."""
    made = OwnLab(tmp_path)
    made.write(ONE_NODE.replace("NAME", made.name) + request.module.OBJECTS)
    yield made
    made.clear()


_SEEN: pytest.StashKey[list[str]] = pytest.StashKey()


@pytest.fixture(scope="module", autouse=True)
def _nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """The plugin fails a test of whose lab something is left; here the same is asked in the plainest way."""
    request.node.stash[_SEEN] = names = []
    yield
    assert [line for name in names for line in left(name)] == []


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> Iterator[Any]:
    """Note the labs that tests of this folder have."""
    made = yield
    module = request.node.getparent(pytest.Module)
    if isinstance(made, RunningLab) and module and _SEEN in module.stash:
        module.stash[_SEEN].append(made.name)
    return made


class Fingerprint(dict[str, str]):
    """All of the machine that a lab must not touch, as `what: value`."""

    def since(self, before: Fingerprint) -> list[str]:
        """What is not as it was, a line each; nothing is as it should be."""
        keys = sorted(key for key in {*before, *self} if before.get(key) != self.get(key))
        return [f"{key}: {before.get(key, '(nothing)')} -> {self.get(key, '(nothing)')}" for key in keys]


@pytest.fixture(scope="session")
def fingerprint() -> Callable[[], Fingerprint]:
    """Takes the machine's fingerprint: `before = fingerprint()`, later `assert fingerprint().since(before) == []`."""
    return take


def take() -> Fingerprint:
    """Under a fifth of a second; leaves out what changes by itself: counters, lifetimes, neighbours."""
    return Fingerprint((*_links_and_routes(), *_rules(), *_sysctls(), *_mounts(), *_etc()))


def _links_and_routes() -> Iterator[tuple[str, str]]:
    for asked in ("-d link", "address", "-4 rule", "-6 rule", "-4 route show table all", "-6 route show table all"):
        shown = _said("ip", "-j", *asked.split())
        for place, entry in enumerate(json.loads(shown or "[]")):
            yield f"ip {asked} #{place}", json.dumps(_lasting(entry), sort_keys=True)


def _lasting(entry: Any) -> Any:
    """The entry without its lifetimes."""
    match entry:
        case dict():
            passing = ("valid_life_time", "preferred_life_time", "expires", "age", "used")
            return {key: _lasting(value) for key, value in entry.items() if key not in passing}
        case list():
            return [_lasting(value) for value in entry]
        case _:
            return entry


def _rules() -> Iterator[tuple[str, str]]:
    yield "nft", re.sub(r"packets \d+ bytes \d+", "", _said("nft", "list", "ruleset"))
    yield "ipset", _said("ipset", "save")
    if Path("/proc/net/ip_vs").exists():
        yield "ipvs", _said("ipvsadm", "-S", "-n")
    for family in ("ip", "ip6"):
        yield f"{family}tables-nft", _without_counters(_said(f"{family}tables-nft-save"))
        # Asking the legacy variant for a table makes the table, so only those that are there are asked for.
        names = Path(f"/proc/net/{family}_tables_names")
        for table in sorted(names.read_text().split()) if names.exists() else ():
            rules = _said(f"{family}tables-legacy-save", "-t", table)
            yield f"{family}tables-legacy {table}", _without_counters(rules)


def _without_counters(saved: str) -> str:
    return re.sub(r"\[\d+:\d+\]|^#.*\n", "", saved, flags=re.MULTILINE)


def _said(program: str, *arguments: str) -> str:
    if shutil.which(program) is None:
        return ""
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False).stdout


VOLATILE = re.compile(r"net/netfilter/nf_conntrack_count|kernel/(ns_last_pid|pty/nr|random/.*|tainted|.*bpf_stats.*)")


def _sysctls() -> Iterator[tuple[str, str]]:
    for folder in ("net", "kernel", "user"):
        for path in _files(f"/proc/sys/{folder}"):
            name = path.removeprefix("/proc/sys/")
            if not VOLATILE.fullmatch(name):
                try:
                    yield f"sysctl {name}", Path(path).read_text().strip()
                except OSError:  # some can only be written
                    continue


def _mounts() -> Iterator[tuple[str, str]]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        number, parent, _device, root, point, *rest = line.split()
        if not f"{point}/".startswith("/run/"):
            yield f"mount {point} {number}", " ".join([parent, root, *rest])


def _etc() -> Iterator[tuple[str, str]]:
    for path in _files("/etc"):
        status = os.lstat(path)
        yield path, f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {status.st_size} {status.st_mtime_ns}"


def _files(folder: str) -> Iterable[str]:
    for root, _folders, files in os.walk(folder):
        yield from (os.path.join(root, file) for file in files)
