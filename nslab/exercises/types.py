"""A check file as frozen values: goals with their conditions (pure data)."""

from __future__ import annotations

from enum import StrEnum

from nslab.dataclass import dataclass


class Language(StrEnum):
    """The languages of guides and exercises."""

    ENGLISH = "en"
    KOREAN = "ko"


class By(StrEnum):
    """The kind of probe: an echo, a connection, or a request, whose answer names server and client address."""

    ICMP = "icmp"
    TCP = "tcp"
    HTTP = "http"


class Expect(StrEnum):
    """The expected result. `blocked`: neither an answer nor a refusal, for any reason."""

    OK = "ok"
    REFUSED = "refused"
    BLOCKED = "blocked"


class Show(StrEnum):
    """The object of `ip -j`."""

    ADDRESS = "addr"
    LINK = "link"
    NEIGHBOUR = "neigh"
    ROUTE = "route"


@dataclass(frozen=True, slots=True)
class Translated:
    """A text in each language; English if there is no translation."""

    en: str = ""
    ko: str = ""

    def by(self, language: Language) -> str:
        """The text in a language."""
        return self.ko or self.en if language is Language.KOREAN else self.en


@dataclass(frozen=True, slots=True)
class Ask:
    """One question, `times` over: `source` asks `target` (a host, svc/NAME or an address, perhaps with :PORT).

    `seen_as`: the host whose address the server must see as source. `answers`: the pods that must all answer, evenly,
    and no others; empty: the owner of the address.
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
    """A condition on the output of `ip -j` in a host: an entry with these values exists, or does not.

    Values are compared as text; an address has the name of its interface.
    """

    host: str = ""
    show: Show = Show.ROUTE
    has: tuple[tuple[str, str], ...] = ()
    has_not: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Goal:
    """One step of an exercise. `extra`: the exercise is done without it."""

    name: str = ""
    title: Translated = Translated()
    hint: Translated = Translated()
    asks: tuple[Ask, ...] = ()
    facts: tuple[Fact, ...] = ()
    extra: bool = False


@dataclass(frozen=True, slots=True)
class Check:
    """The goals of a lab, in order."""

    goals: tuple[Goal, ...] = ()
