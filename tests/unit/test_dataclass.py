"""nslab's `dataclass` against the library's: what one does, the other does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

import nslab.dataclass as ours


def declared(library: Any) -> SimpleNamespace:
    """The same classes, made by a module's `dataclass`."""

    @library.dataclass(frozen=True, slots=True)
    class Base:
        """With a default, and a field that does not count."""

        ns: str
        metric: int = 0
        by: str = library.field(default="", compare=False, kw_only=True)
        role: ClassVar[str] = "base"

        @property
        def key(self) -> tuple[str, int]:
            return self.ns, self.metric

    @library.dataclass(frozen=True, slots=True)
    class Derived(Base):
        """With what its base has, and more."""

        members: tuple[str, ...] = ()
        notes: dict[str, str] = library.field(default_factory=dict, compare=False, repr=False)
        role: ClassVar[str] = "derived"

    @library.dataclass(slots=True)
    class Draft:
        """One that can be changed."""

        name: str = ""
        labels: dict[str, str] = library.field(default_factory=dict)
        length: int = library.field(init=False, repr=False, compare=False)

        def __post_init__(self) -> None:
            self.length = len(self.name)

    @library.dataclass(frozen=True, slots=True)
    class Nothing:
        """Without a field."""

    @library.dataclass(frozen=True, slots=True)
    class Own:
        """With methods that are its own."""

        text: str

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Own) and self.text.lower() == other.text.lower()

        def __hash__(self) -> int:
            return hash(self.text.lower())

        def __repr__(self) -> str:
            return self.text

    @library.dataclass(frozen=True, slots=True)
    class Asking(Base):
        """With methods that ask its base's."""

        answers: int = 0

        def __init__(self, ns: str) -> None:
            Base.__init__(self, ns, 7)
            object.__setattr__(self, "answers", 1)

        def __eq__(self, other: object) -> bool:
            return Base.__eq__(self, other)

        def __hash__(self) -> int:
            return Base.__hash__(self)

    for cls in (Base, Derived, Draft, Nothing, Own, Asking):
        cls.__qualname__ = cls.__name__
    return SimpleNamespace(Base=Base, Derived=Derived, Draft=Draft, Nothing=Nothing, Own=Own, Asking=Asking)


LIBRARYS, OURS = declared(dataclasses), declared(ours)
Base, Derived, Draft, Nothing, Own, Asking = vars(OURS).values()  # to be pickled, they must be found here
for _cls in vars(OURS).values():
    assert _cls.__module__ == __name__


def replaced(one: Any, answers: int) -> Any:
    object.__setattr__(one, "answers", answers)
    return one


CASES = {
    "positional": lambda it: it.Base("a", 2),
    "by name": lambda it: it.Base(metric=2, ns="a", by="kubelet"),
    "derived": lambda it: it.Derived("a", 1, ("x",), {"k": "v"}, by="b"),
    "its class variable": lambda it: (it.Base.role, it.Derived("a").role),
    "its property": lambda it: it.Derived("a").key,
    "drafts": lambda it: (it.Draft("abc"), it.Draft("abc").length),
    "each draft its own labels": lambda it: it.Draft().labels is it.Draft().labels,
    "nothing": lambda it: it.Nothing(),
    "equal": lambda it: it.Base("a") == it.Base("a", by="other"),
    "unequal": lambda it: it.Base("a") == it.Base("a", 1),
    "of other classes": lambda it: it.Base("a") == it.Derived("a"),
    "nothing is equal": lambda it: it.Nothing() == it.Nothing(),
    "hash": lambda it: hash(it.Derived("a", 1)) == hash(it.Derived("a", 1, notes={"x": "y"})),
    "hash of the fields": lambda it: hash(it.Base("a", 1)) == hash(("a", 1)),
    "in a set": lambda it: len({it.Base("a"), it.Base("a"), it.Base("b")}),
    "a draft has no hash": lambda it: hash(it.Draft()),
    "own methods": lambda it: (it.Own("A") == it.Own("a"), hash(it.Own("A")) == hash("a"), it.Own("A")),
    "its base's object": lambda it: (it.Asking("a"), it.Asking("a").answers),
    "its base's comparison": lambda it: [replaced(it.Asking("a"), 2) == it.Asking("a") for _ in range(2)],
    "its base's hash": lambda it: [hash(it.Asking("a")) == hash(("a", 7)) for _ in range(2)],
    "match": lambda it: (it.Base.__match_args__, it.Derived.__match_args__, it.Draft.__match_args__),
    "slots": lambda it: (it.Base.__slots__, it.Derived.__slots__),
    "no other attribute": lambda it: setattr(it.Draft(), "other", 1),
    "frozen": lambda it: setattr(it.Base("a"), "ns", "b"),
    "frozen for deletion": lambda it: delattr(it.Base("a"), "ns"),
    "too few": lambda it: it.Base(),
    "too many": lambda it: it.Base("a", 1, "b"),
    "unknown": lambda it: it.Base("a", other=1),
    "copied": lambda it: copy.deepcopy(it.Derived("a", notes={"k": "v"})),
    "replaced": lambda it: dataclasses.replace(it.Derived("a", by="x"), metric=3),
    "replaced by what is not there": lambda it: dataclasses.replace(it.Base("a"), other=3),
    "as a dictionary": lambda it: dataclasses.asdict(it.Derived("a", 1, ("x",), {"k": "v"}, by="b")),
    "its fields": lambda it: [(one.name, one.type, one.default) for one in dataclasses.fields(it.Base)],
    "documented": lambda it: (it.Base.__doc__, it.Base.__name__, it.Base.__module__),
}


def outcome(call: Any, it: Any) -> str:
    try:
        return repr(call(it))
    except (AttributeError, TypeError) as error:
        # The library names the function in which a class was declared.
        output = str(error).replace("declared.<locals>.", "")
        return type(error).__name__ if isinstance(error, AttributeError) else output


@pytest.mark.parametrize("case", CASES)
def test_as_the_library_does_it(case: str) -> None:
    # Of classes whose methods nobody has called yet.
    assert outcome(CASES[case], declared(ours)) == outcome(CASES[case], LIBRARYS)


def test_replace_and_fields_are_the_librarys() -> None:
    value = OURS.Derived("a", by="x")
    assert repr(ours.replace(value, metric=3)) == repr(dataclasses.replace(value, metric=3))
    with pytest.raises(TypeError):
        ours.replace(value, other=1)
    names = [(one.name, one.kw_only) for one in dataclasses.fields(value)]
    assert [(one.name, one.kw_only) for one in ours.fields(value)] == names


@pytest.mark.parametrize("library", [ours, dataclasses])
def test_a_default_is_not_shared(library: Any) -> None:
    with pytest.raises(ValueError, match="use default_factory"):

        @library.dataclass(slots=True)
        class Shared:
            names: list[str] = []  # noqa: RUF012 - that is the fault


@pytest.mark.parametrize("library", [ours, dataclasses])
def test_a_type_may_be_called_much_like_a_class_variable(library: Any) -> None:
    @library.dataclass(slots=True)
    class Some:
        one: MyClassVariable

    assert Some(MyClassVariable()).one is not None


class MyClassVariable:
    """No ClassVar."""


def test_pickled() -> None:
    value = OURS.Derived("a", 2, ("x",), {"k": "v"}, by="b")
    again = pickle.loads(pickle.dumps(value))
    assert (again, again.notes, again.by) == (value, value.notes, value.by)


def test_what_was_called_once_is_called_again() -> None:
    """A function is compiled by its first call."""
    fresh = declared(ours)
    pairs = [(fresh.Base("a", 1), fresh.Base("a", 1)) for _ in range(3)]
    assert all(one == other and hash(one) == hash(other) for one, other in pairs)


def test_the_library_is_not_imported_for_it() -> None:
    """It imports `inspect`, which takes as long as all else."""
    code = "import sys, nslab.app.up; print({'dataclasses', 'inspect'} & {*sys.modules})"
    output = subprocess.run([sys.executable, "-P", "-c", code], check=True, capture_output=True, text=True)
    assert output.stdout == "set()\n"
