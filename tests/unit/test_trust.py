"""Who is believed: process tables that somebody forged, held against what the starters wrote down."""

from __future__ import annotations

import json
import os
import string
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nslab.linux.visits import holders
from nslab.runtime import membership, trust
from nslab.runtime.membership import ProcessEntry
from nslab.runtime.trust import Births, Started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MACHINE, ALICE, BOB = 1, 101, 102
INODES = {ALICE: "nslab.l.alice", BOB: "nslab.l.bob"}
ROLES = ("node", "control", "pause", "container/app", "kube-proxy", "tunnel", "spawner", "exec", "")
MARKS = st.tuples(
    st.sampled_from(["", "nslab.l.alice", "nslab.l.bob", "nslab.other.x", "nslab.l.", "nslab../etc/x.y", "nslab.L.x"]),
    st.sampled_from(ROLES),
)


@st.composite
def tables(draw: st.DrawFn) -> dict[int, ProcessEntry]:
    """Processes that say of themselves what they like, born of whomever they like."""
    pids = draw(st.lists(st.integers(2, 40), min_size=1, max_size=15, unique=True))
    return {
        pid: ProcessEntry(
            pid,
            start=draw(st.integers(1, 5)),
            parent=draw(st.sampled_from([1, *(other for other in pids if other < pid)])),
            net=draw(st.sampled_from([MACHINE, ALICE, BOB, 900])),
            state=draw(st.sampled_from("SRTZ")),
            name=draw(st.sampled_from(["pause", "sh", "nslab-node"])),
            mark=draw(MARKS),
            root=draw(st.booleans()),
        )
        for pid in pids
    }


def written(pid: int, start: int, net: int, role: str) -> Started:
    return Started(pid, start, 0, net, 7, INODES.get(net, "nslab.l."), role, {})


journals = st.lists(
    st.builds(
        written, st.integers(2, 40), st.integers(1, 5), st.sampled_from([ALICE, BOB]), st.sampled_from(ROLES[:6])
    ),
    max_size=6,
)


@given(tables(), journals)
def test_nobody_is_anybody_but_by_the_journal(table: dict[int, ProcessEntry], journal: list[Started]) -> None:
    known = membership.journaled(journal, table)
    lines = {(line.pid, line.start, line.role) for line in journal}
    for pid, record in known.items():
        assert (pid, table[pid].start, record.role) in lines
        assert table[pid].net == record.net or record.role in trust.TRAVELLING
    # Whatever the marks say: with others, the same are known.
    for seen in table.values():
        seen.mark = ("nslab.l.alice", "node")
    assert membership.journaled(journal, table) == known


@given(st.sampled_from(trust.TRAVELLING), st.sampled_from([MACHINE, ALICE, BOB, 900]))
def test_a_node_is_one_wherever_it_is_for_the_moment(role: str, net: int) -> None:
    """It goes into the network namespaces of its pods to fork what is to be born there."""
    table = {7: ProcessEntry(7, 1, 1, net, "S", "nslab-node", ("nslab.l.alice", role), True)}
    known = membership.journaled([written(7, 1, ALICE, role)], table)
    assert known.keys() == {7}
    found = membership.members(table, INODES, ["l"], known, MACHINE)
    assert membership.impostors(table, found, known) == []


@given(tables(), journals)
def test_a_process_of_the_machine_goes_with_no_lab_for_what_it_says(
    table: dict[int, ProcessEntry], journal: list[Started]
) -> None:
    known = membership.journaled(journal, table)
    found = membership.members(table, INODES, ["l"], known, MACHINE)
    for pid in found:
        chain = [*ancestors(pid, table)]
        assert any(
            one in known
            or table[one].net in INODES
            or (table[one].root and table[one].net != MACHINE and trust.lab_of(table[one].mark[0]) == "l")
            for one in chain
        )
    for pid, seen in table.items():
        if seen.net in INODES or pid in known:
            assert pid in found


@given(tables(), journals, st.sets(st.integers(2, 40)))
def test_a_visitor_is_no_member_but_by_its_journal_its_mark_or_its_parent(
    table: dict[int, ProcessEntry], journal: list[Started], visitors: set[int]
) -> None:
    known = membership.journaled(journal, table)
    found = membership.members(table, INODES, ["l"], known, MACHINE, visitors=visitors)
    for pid in visitors & found.keys():
        seen = table[pid]
        marked = seen.root and seen.net != MACHINE and trust.lab_of(seen.mark[0]) == "l"
        assert pid in known or marked or seen.parent in found


def test_who_holds_a_lock() -> None:
    lines = """\
1: POSIX  ADVISORY  WRITE 70 00:1a:5678 0 EOF
2: FLOCK  ADVISORY  READ 71 00:1a:5678 0 EOF
2: -> FLOCK  ADVISORY  WRITE 72 00:1a:5678 0 EOF
3: FLOCK  ADVISORY  WRITE 73 00:1b:5678 0 EOF
4: FLOCK  ADVISORY  READ 74 00:1a:5678 0 EOF
5: FLOCK  ADVISORY  READ 0 00:1a:5678 0 EOF
6: OFDLCK ADVISORY  READ -1 00:1a:5678 0 EOF
"""
    assert [*holders(lines.splitlines(), (0, 0x1A, 5678))] == [71, 74]


def ancestors(pid: int, table: dict[int, ProcessEntry]) -> Iterator[int]:
    while pid in table:
        yield pid
        pid = table[pid].parent


@given(tables(), journals)
def test_an_ordinary_user_names_no_lab(table: dict[int, ProcessEntry], journal: list[Started]) -> None:
    for seen in table.values():
        seen.root = False
    assert membership.marked_labs(table, MACHINE) == set()
    found = membership.members(table, {}, ["l", "other"], {}, MACHINE)
    assert found == {}


@given(tables(), journals)
def test_who_claims_a_part_that_nobody_gave_is_named(table: dict[int, ProcessEntry], journal: list[Started]) -> None:
    known = membership.journaled(journal, table)
    found = membership.members(table, INODES, ["l"], known, MACHINE)
    named = {seen.pid for seen in membership.impostors(table, found, known)}
    assert named <= found.keys() - known.keys()
    for pid in found.keys() - known.keys():
        seen = table[pid]
        parent = known.get(seen.parent)
        if seen.mark[1] not in membership.ROLELESS and seen.state not in "ZX" and parent is None:
            assert pid in named


@given(st.text(max_size=80))
def test_what_a_name_is_leads_nowhere(text: str) -> None:
    for name in (
        trust.lab_name(text),
        trust.lab_of(text),
        trust.lab_of(f"nslab.{text}.x"),
        trust.lab_of(f"nslab.l.{text}"),
    ):
        assert set(name) <= set(string.ascii_lowercase + string.digits + "-")
        assert not name.startswith("-")
        assert len(name) <= 63


@pytest.mark.parametrize(
    "ns",
    [
        "nslab../any/path.x",
        "nslab.a/b.c",
        "nslab.l.a/b",
        "nslab.l...",
        "nslab.l.a..b",
        "nslab.l.a.",
        "nslab.l..a",
        "nslab",
        "",
        "nslab.l",
        "x.l.h",
    ],
)
def test_no_namespaces_name(ns: str) -> None:
    assert trust.lab_of(ns) == ""


def test_namespaces_names() -> None:
    names = ("nslab.a-b.", "nslab.a.kube-system_kube-dns", "nslab.7.x", "nslab.b.ip-10-0-0-1.ec2.internal")
    assert [trust.lab_of(ns) for ns in names] == ["a-b", "a", "7", "b"]


def test_a_journal_of_somebody_elses_or_behind_a_link_is_none(tmp_path: Path) -> None:
    record = trust.started(os.getpid(), "nslab.l.x", "node", {})
    file = tmp_path / "pids"
    file.write_text(record.line() + '{"half": ')
    file.chmod(0o600)
    mine = os.geteuid() == 0
    assert [line.pid for line in trust.read(str(file))] == ([os.getpid()] if mine else [])
    (tmp_path / "link").symlink_to(file)
    assert [*trust.read(str(tmp_path / "link"))] == []
    file.chmod(0o622)
    assert [*trust.read(str(file))] == []


def test_only_the_process_itself_is_verified() -> None:
    record = trust.started(os.getpid(), "nslab.l.x", "pause", {})
    os.close(trust.verified(record))
    changes = {"start": record.start + 1, "pids": record.pids + 1, "net": record.net + 1, "pid": os.getppid()}
    for name, value in changes.items():
        forged = Started(**{**json.loads(record.line()), name: value})
        with pytest.raises(ProcessLookupError):
            trust.verified(forged)


def births(tmp_path: Path) -> tuple[Births, Path]:
    return Births(str(tmp_path / "pids")), tmp_path / "pids"


def test_a_child_is_written_down_before_it_is_anybody(tmp_path: Path) -> None:
    born, journal = births(tmp_path)
    read, write = os.pipe()
    pid = born.fork("nslab.l.x", "node", lambda: os.write(write, journal.read_bytes()), {"a": 1})
    os.waitpid(pid, 0)
    output: dict[str, Any] = json.loads(os.read(read, 4096))
    os.close(read)
    os.close(write)
    assert (output["pid"], output["role"], output["more"]) == (pid, "node", {"a": 1})


def test_a_child_that_cannot_be_written_down_is_nobody(tmp_path: Path) -> None:
    born = Births(str(tmp_path / "no" / "pids"))
    pid = born.fork("nslab.l.x", "node", lambda: os.kill(os.getpid(), 9))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


def test_a_child_whose_parent_is_killed_before_that_ends(tmp_path: Path) -> None:
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        born = Births(str(tmp_path / "pids"), lambda _: None)  # never in a moment
        born.fork("nslab.l.x", "node", lambda: os.write(write, b"x"))
        os._exit(0)
    os.waitpid(parent, 0)
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)
    assert not (tmp_path / "pids").exists()


def test_a_journal_forgets_the_dead(tmp_path: Path) -> None:
    born, journal = births(tmp_path)
    for _ in range(200):
        pid = born.fork("nslab.l.x", "node", lambda: None)
        os.waitpid(pid, 0)
        born.ended(pid)
    assert len(journal.read_text().splitlines()) < 100
    later, _ = births(tmp_path)
    assert later.adopt() == []
    assert journal.read_text() == ""
