"""Korean particles, as a value is read aloud."""

from __future__ import annotations

import pytest

from nslab.exercises.types import Language
from nslab.exercises.words import word
from nslab.korean import particle


@pytest.mark.parametrize(
    ("value", "subject", "towards"),
    [
        ("10.0.0.10", "10.0.0.10이", "10.0.0.10으로"),  # yeong, or sip
        ("20.96.0.0", "20.96.0.0이", "20.96.0.0으로"),
        ("20.111.156.1", "20.111.156.1이", "20.111.156.1로"),  # il: what begins with 으 loses it
        ("192.168.59.22", "192.168.59.22가", "192.168.59.22로"),  # i
        ("192.168.59.23", "192.168.59.23이", "192.168.59.23으로"),  # sam
        ("20.109.131.4", "20.109.131.4가", "20.109.131.4로"),  # sa
        ("5", "5가", "5로"),  # o
        ("20.111.156.6", "20.111.156.6이", "20.111.156.6으로"),  # yuk
        ("20.111.156.7", "20.111.156.7이", "20.111.156.7로"),  # chil
        ("/8", "/8이", "/8로"),  # pal
        ("20.111.156.9", "20.111.156.9가", "20.111.156.9로"),  # gu
        ("10.96.0.0/12", "10.96.0.0/12가", "10.96.0.0/12로"),
        (31080, "31080이", "31080으로"),
        ("`ping 10.103.9.116`", "`ping 10.103.9.116`이", "`ping 10.103.9.116`으로"),  # marks are not read
        ("node1", "node1이", "node1로"),
        ("pod-a", "pod-a가", "pod-a로"),  # ei
        ("pod-l", "pod-l이", "pod-l로"),  # el
        ("KUBE-SVC-TCOU7JCQXEZGVUNM", "KUBE-SVC-TCOU7JCQXEZGVUNM이", "KUBE-SVC-TCOU7JCQXEZGVUNM으로"),  # em
        ("DNS", "DNS가", "DNS로"),  # eseu
        ("URL", "URL이", "URL로"),
        ("R", "R이", "R로"),  # al
        ("calie88da174fa4", "calie88da174fa4가", "calie88da174fa4로"),
        ("cali19fa", "cali19fa가", "cali19fa로"),
        ("client", "client가", "client로"),
        ("server", "server가", "server로"),  # seobeo: no el or al
        ("calico-routing", "calico-routing이", "calico-routing으로"),
        ("bgp.dump", "bgp.dump가", "bgp.dump로"),
        ("hostname", "hostname이", "hostname으로"),
        ("table", "table이", "table로"),
        ("노드", "노드가", "노드로"),
        ("포트의 글", "포트의 글이", "포트의 글로"),
        ("응답", "응답이", "응답으로"),
        ("…", "…가", "…로"),
    ],
)
def test_the_particle_is_the_one_that_is_spoken(value: object, subject: str, towards: str) -> None:
    assert particle(value, "이", "가") == subject
    assert particle(value, "으로", "로") == towards


def test_verdicts_have_the_particle_of_what_they_name() -> None:
    assert word(Language.KOREAN, "answered by", "web-1", "web-2") == "web-1이 응답했습니다. web-2여야 합니다"
    assert word(Language.KOREAN, "never answered by", "web-2") == "web-2는 한 번도 응답하지 않았습니다"
    assert word(Language.KOREAN, "seen as", "192.168.59.23", "pod-a").startswith("서버에 192.168.59.23으로 보입니다")
