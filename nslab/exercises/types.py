"""What a check file says, as frozen values: goals, and what must be so for each (pure data)."""

from __future__ import annotations

from enum import StrEnum

from nslab.dataclass import dataclass


class Language(StrEnum):
    """The languages of guides and exercises."""

    ENGLISH = "en"
    KOREAN = "ko"


class By(StrEnum):
    """How somebody is asked: an echo, a connection, or a request that is answered with who answers and whom he sees."""

    ICMP = "icmp"
    TCP = "tcp"
    HTTP = "http"


class Expect(StrEnum):
    """What must come of it. `blocked`: neither an answer nor a refusal, whatever the reason."""

    OK = "ok"
    REFUSED = "refused"
    BLOCKED = "blocked"


class Show(StrEnum):
    """What `ip -j` is asked for."""

    ADDRESS = "addr"
    LINK = "link"
    NEIGHBOUR = "neigh"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class Text:
    """The same words in each language; what is not translated is said in English."""

    en: str = ""
    ko: str = ""

    def by(self, language: Language) -> str:
        """The words in a language."""
        return self.ko or self.en if language is Language.KOREAN else self.en


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, `times` over: `source` asks `target` (HOST, HOST:PORT, svc/NAME or svc/NAME:PORT).

    `seen_as`: the host as whom the server must see the asker. `answers`: the pods that must all answer, evenly, and
    nobody else; none named: whoever has the address.
    """

    source: str = ""
    target: str = ""
    by: By = By.ICMP
    expect: Expect = Expect.OK
    times: int = 1
    seen_as: str = ""
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that no packet tells: of what `ip -j` shows in a host, an entry with these values is there, or is not.

    Values are compared as text; an address is shown with the name of its interface.
    """

    host: str = ""
    show: Show = Show.ROUTE
    has: tuple[tuple[str, str], ...] = ()
    has_not: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Goal:
    """One step of an exercise. `extra`: reached or not, the exercise is done without it."""

    name: str = ""
    title: Text = Text()
    hint: Text = Text()
    asks: tuple[Ask, ...] = ()
    facts: tuple[Fact, ...] = ()
    extra: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """The goals of a lab, in the order in which one reaches them."""

    goals: tuple[Goal, ...] = ()
