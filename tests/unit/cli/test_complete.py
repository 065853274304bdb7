"""What a shell is offered."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def offered(line: str) -> list[str]:
    """What bash is offered at the end of a line, which it has cut into words."""
    words = line.split(" ")
    environment = {
        "_NSLAB_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "PATH": os.environ["PATH"],
    }
    argv = [sys.executable, "-P", "-m", "nslab"]
    return subprocess.run(argv, capture_output=True, text=True, env=environment).stdout.split()


@pytest.mark.parametrize(
    ("line", "there", "absent"),
    [
        ("nslab set a proxy", {"proxy-mode=ipvs", "proxy-mode=nftables"}, {"encapsulation=None", "ipvs"}),
        ("nslab set a proxy-mode=i", {"proxy-mode=ipvs", "proxy-mode=iptables"}, {"proxy-mode=none"}),
        ("nslab set a proxy-mode = i", {"ipvs", "iptables"}, {"none"}),
        ("nslab set a proxy-mode = ", {"ipvs", "none"}, {"IPIP"}),
        ("nslab set a proxy-mode = ipvs sched", {"scheduler=rr"}, {"rr"}),
        ("nslab up calico", {"calico-two-node"}, {"pause-pod"}),
        ("nslab exec nosuch/pod -c ", set(), {"app"}),
        ("nslab help ", {"exec", "probe"}, set()),
    ],
)
def test_words_are_offered(line: str, there: set[str], absent: set[str]) -> None:
    found = {*offered(line)}
    assert there <= found
    assert not absent & found


def test_bash_offers_values_behind_the_sign() -> None:
    """Bash cuts words at `=`, and the sign is a word of its own."""
    script = f"""
        nslab() {{ env COMP_WORDS="$COMP_WORDS" {sys.executable} -P -m nslab "$@"; }}
        eval "$({sys.executable} -P -m nslab completion bash | sed 's|\\$1|{sys.executable} -P -m nslab|')"
        for typed in "=" "= i"; do
            COMP_WORDS=(nslab set a proxy-mode $typed)
            COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
            _nslab_completion nslab
            echo "${{COMPREPLY[*]}}" | tr '\\n' ' '
            echo
        done
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    every, some = (line.split() for line in done.stdout.splitlines())
    assert {"ipvs", "iptables", "none"} <= {*every}
    assert {*some} == {"ipvs", "iptables"}
