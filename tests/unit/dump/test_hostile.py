"""Dumps of strangers: a sentence with the file and the place in it, and never an exception of another kind."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# Tests are imported by their path (importlib), so what they share must be on the path itself.
sys.path.insert(0, os.path.dirname(__file__))

from nodes import address, link, route

from nslab.app.dumps import dumped_hosts, trace_dumps
from nslab.errors import UsageError
from nslab.linux.dumps import read_dump
from nslab.trace.dump import files
from nslab.trace.dump.files import Dump
from nslab.trace.dump.host import DumpedHost

if TYPE_CHECKING:
    from pathlib import Path

FILES: dict[str, Any] = {
    "link.json": [link("lo", 1), link("eth0", 2), link("vx", 3, "vxlan", data={"id": 1, "port": 4789})],
    "addr.json": [address("lo", "127.0.0.1/8"), address("eth0", "192.0.2.1/24")],
    "route.json": [
        route("default", "eth0", gateway="192.0.2.254", metric=5),
        route("10.9.0.0/24", "vx", gateway="10.9.0.0"),
        route("192.0.2.1", "eth0", type="local", table="local"),
        {
            "dst": "10.8.0.0/24",
            "flags": [],
            "nexthops": [{"gateway": "192.0.2.3", "dev": "eth0", "weight": 1, "flags": []}],
        },
        route("192.0.2.0/24", "eth0"),
    ],
    "rule.json": [
        {"priority": 0, "src": "all", "table": "local"},
        {"priority": 1, "src": "10.0.0.0", "srclen": 8, "fwmark": "0x1", "fwmask": "0xff", "table": "main"},
        {"priority": 2, "src": "all", "table": "main"},
    ],
    "neigh.json": [{"dst": "10.9.0.0", "dev": "vx", "lladdr": "aa:aa:aa:aa:aa:aa", "state": ["PERMANENT"]}],
    "fdb.json": [{"mac": "aa:aa:aa:aa:aa:aa", "ifname": "vx", "dst": "192.0.2.2", "flags": ["self"]}],
    "netconf.json": [{"family": "inet", "interface": "eth0", "forwarding": True, "rp_filter": "strict"}],
    "nft.json": {"nftables": [{"table": {"family": "ip", "name": "t"}}]},
    "ss": "tcp LISTEN 0 128 0.0.0.0:80 0.0.0.0:*\n",
    "ipvsadm-save": "-A -t 192.0.2.1:90 -s rr\n-a -t 192.0.2.1:90 -r 10.9.0.5:8080 -m -w 1\n",
    "sysctl": "net.ipv4.ip_forward = 1\nnet.ipv4.conf.all.rp_filter = 1\n",
    "iptables-save": "*filter\n-A INPUT -p tcp -m set --match-set s src -j DROP\nCOMMIT\n",
    "ipset-save": "create s hash:ip family inet\nadd s 192.0.2.66\n",
    "conntrack": "tcp 6 5 ESTABLISHED src=192.0.2.9 dst=192.0.2.1 sport=1 dport=80 src=1 dst=2 sport=3 dport=4\n",
    "hostname": "node1\n",
}
ASKED = (
    ("node1", "10.9.0.5:80"), ("192.0.2.9", "192.0.2.1:80"), ("192.0.2.9", "192.0.2.1:90"), ("node1", "10.8.0.1:5"),
    ("10.9.0.7", "node1:1"),
)  # fmt: skip
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
    | st.sampled_from(["10.0.0.0/8", "0x10", "all", "eth0", "::1", "-1", "1e9", "\x1b[31m", "x" * 300, "9" * 5000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def texts(**changes: str) -> dict[str, str]:
    """The files of a good dump, with changes."""
    return {name: body if isinstance(body, str) else json.dumps(body) for name, body in FILES.items()} | changes


def said(found: dict[str, str]) -> list[str]:
    """The errors of traces with the dump."""
    sentences = []
    for sender, to in ASKED:
        try:
            trace_dumps([DumpedHost(Dump("node1", found))], sender, to)
        except UsageError as error:
            sentences.append(str(error))
    return sentences


def asked(found: dict[str, str]) -> None:
    """Trace with the dump; each error is one line."""
    assert [one for one in said(found) if "\n" in one or len(one) > 600] == []


def test_the_dump_without_a_change_is_good() -> None:
    for sender, to in ASKED:
        assert trace_dumps([DumpedHost(Dump("node1", texts()))], sender, to)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Each container in a JSON value with each of its keys."""
    keys = range(len(value)) if isinstance(value, list) else value.keys() if isinstance(value, dict) else ()
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_anything_in_place_of_any_value(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in FILES if name.endswith(".json")]))
    body = json.loads(json.dumps(FILES[name]))
    container, key = data.draw(st.sampled_from(places(body)))
    container[key] = data.draw(JUNK)
    asked(texts(**{name: json.dumps(body)}))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_text_in_any_file(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*FILES]))
    words = st.sampled_from(
        ["-A", "-t", "192.0.2.1:80", "[", "{", "}", "]", '"', "\x00", "\n", "tcp", " = ", "*filter", "9" * 5000]
    )
    good = texts()[name]
    cut = data.draw(st.integers(0, len(good)))
    junk = "".join(data.draw(st.lists(words | st.text(max_size=8), max_size=8)))
    asked(texts(**{name: good[:cut] + junk + good[cut:] * data.draw(st.booleans())}))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("addr.json", "[{]", "addr.json, line 1, column 3: this is not JSON"),
        ("addr.json", "{}", "addr.json: no list of objects, or one of more than 1000000"),
        ("addr.json", "[1]", "addr.json, entry 1: no object"),
        ("addr.json", "[" * 100_000, "addr.json: nesting without end"),
        ("addr.json", f"[{'9' * 5000}]", "addr.json: a number without end"),
        ("addr.json", '[{"ifname": "../../etc"}]', "addr.json, entry 1: ifname is no interface's name: '../../etc'"),
        ("link.json", '[{"ifname": "a;reboot b"}]', "link.json, entry 1: ifname is no interface's name: 'a;reboot b'"),
        ("route.json", '[{"dst": "10.0.0.0/99"}]', "route.json, entry 1: dst is no IPv4 network: '10.0.0.0/99'"),
        ("route.json", '[{"dst": "1.2.3.4", "type": "magic"}]', "route.json, entry 1: no type of route: 'magic'"),
        ("rule.json", '[{"priority": -1}]', "rule.json, entry 1: priority is no number from 0 to 4294967295"),
        ("ipvsadm-save", "-A -t 1.2.3.4:5 -s rr\nrm -rf /\n", "ipvsadm-save, line 2: 'rm -rf /' is nothing that"),
        ("iptables-save", "*filter\n-P X\n", "iptables-save, line 2: -P X is nothing that iptables-save prints"),
        ("iptables-legacy-save", "*filter\n-A X\n", "iptables-legacy-save, line 2: table filter has no chain X"),
        ("ipset-save", "destroy\n", "ipset save, line 1: 'destroy' is nothing that ipset save prints"),
        ("nft.json", "{", "nft.json, line 1, column 2: this is not JSON"),
        ("ss", "tcp LISTEN 0 9 1.2.3.400:80 *\n", "ss: no address: '1.2.3.400'"),
    ],
)  # fmt: skip
def test_the_sentence(name: str, text: str, sentence: str) -> None:
    sentences = said(texts(**{name: text}))
    assert sentences
    assert all(one.startswith(f"dump of node1: {sentence}") for one in sentences)


def test_a_loop_of_routing_rules() -> None:
    rules = [{"priority": 1, "src": "all", "goto": 1}, {"priority": 2, "src": "all", "goto": 2}]
    with pytest.raises(UsageError, match=r"rule\.json, entry 1: goto leads backwards"):
        trace_dumps([DumpedHost(Dump("node1", texts(**{"rule.json": json.dumps(rules)})))], "node1", "10.9.0.5:80")


def written(folder: Path, **changes: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in texts(**changes).items():
        (folder / name).write_text(text)
    return folder


def test_a_folder(tmp_path: Path) -> None:
    dump = read_dump(written(tmp_path / "nslab-dump-x"))
    assert (dump.name, {*dump.files}) == ("node1", {*FILES})
    (tmp_path / "nslab-dump-x" / "hostname").unlink()
    assert read_dump(tmp_path / "nslab-dump-x").name == "x"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("../up", "no name of a node"),
        ("\x1b[2J", "no name of a node"),
        ("10.0.0.1", "no name of a node"),
        ("a\nb", "no name"),
    ],
)
def test_a_name(name: str, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        read_dump(written(tmp_path / "dump", hostname=name))


def test_what_is_no_dump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_dump(tmp_path / "gone")
    with pytest.raises(UsageError, match="is no dump of a node"):
        read_dump(tmp_path)
    folder = written(tmp_path / "dump")
    with pytest.raises(UsageError, match="Not a directory"):
        read_dump(folder / "ss")
    monkeypatch.setitem(files.SIZES, "ss", 4)
    with pytest.raises(UsageError, match="dump/ss: more than 4 bytes"):
        read_dump(folder)
    monkeypatch.undo()
    (folder / "format").write_text("2\n")
    with pytest.raises(UsageError, match="a dump of format '2'"):
        read_dump(folder)
    (folder / "format").unlink()
    with pytest.raises(UsageError, match="two dumps of node1"):
        dumped_hosts([folder, folder])


def test_a_link_or_a_pipe_in_a_folder(tmp_path: Path) -> None:
    """Nothing outside of the folder is read, and nothing waits for a writer."""
    folder = written(tmp_path / "dump")
    (folder / "ss").unlink()
    (folder / "ss").symlink_to("/etc/shadow")
    with pytest.raises(UsageError, match="dump/ss: a symbolic link"):
        read_dump(folder)
    (folder / "ss").unlink()
    os.mkfifo(folder / "ss")
    with pytest.raises(UsageError, match="dump/ss: no regular file"):
        read_dump(folder)
