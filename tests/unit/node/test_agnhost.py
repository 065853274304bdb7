from __future__ import annotations

import pytest

from nslab.components.images import agnhost


def test_flags_as_cobra_takes_them() -> None:
    assert agnhost.parse([]) == {"http-port": 8080, "udp-port": 8081, "sctp-port": -1, "tcp-echo-port": 0}
    assert agnhost.parse(["--http-port=80", "--udp-port", "-1"])["http-port"] == 80
    assert agnhost.parse(["--http-port=80", "--udp-port", "-1"])["udp-port"] == -1


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--prot=1"], "unknown flag: --prot"),
        (["8080"], "unknown flag: 8080"),
        (["--http-port"], "flag needs an argument: --http-port"),
        (["--http-port=http"], 'invalid argument "http" for "--http-port" flag'),
        (["--http-port=65536"], "--http-port: no port is greater than 65535"),
    ],
)
def test_flags_that_are_none(flags: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        agnhost.parse(flags)
