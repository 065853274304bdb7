"""A kind of kernel object says everything about itself in its family: nobody else has a list of kinds."""

from __future__ import annotations

import ast
import errno
import os
from ipaddress import IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest

from nslab.compiler import compile_lab
from nslab.dataclass import dataclass, replace
from nslab.errors import Refused
from nslab.linux import kernel as linux
from nslab.objects import links
from nslab.objects.base import Add, KernelObject, Remove, Replace
from nslab.objects.devices import Device, Link
from nslab.objects.fake.kernel import FakeKernel
from nslab.objects.inet import Address
from nslab.objects.interfaces import Interface
from nslab.objects.keys import Layer, mac_of
from nslab.objects.links import Dummy
from nslab.objects.namespaces import Netns
from nslab.objects.needs import needs
from nslab.objects.netlink import Netlink
from nslab.objects.plan import diff, invert, transactions
from nslab.objects.ports import LinkUp
from nslab.objects.process import Supervised
from nslab.objects.script import commands, script
from nslab.trace.words import trouble
from nslab.views.delta import delta
from tests.unit.compiler.test_golden import variants
from tests.unit.objects.kinds import kinds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nslab.objects.base import State, Step
    from nslab.objects.interfaces import Interfaces
    from nslab.objects.keys import Key
    from nslab.objects.netlink import Indexes

ROOT = Path(__file__).parents[3]
MACHINERY = (
    *(
        f"objects/{name}.py"
        for name in ("__init__", "base", "netlink", "interfaces", "plan", "script", "needs", "names")
    ),
    "objects/fake",
    "linux/kernel.py",
    "linux/rules",
    "linux/observe",
    "linux/netlink/batch.py",
    "engine.py",
    "trace/words.py",
    "views",
)
"""What makes plans, does them, reads them back and shows them, whatever they are about."""
DECIDING = (
    "app",
    "cli",
    "compiler",
    "linux/cni",
    "linux/netlink/tun.py",
    "linux/processes",
    "probes",
    "trace",
)
"""What wants certain objects, looks for them in a state, or is the one way in which Linux is told of a kind."""


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_a_kind_says_everything_about_itself(kind: type[KernelObject]) -> None:
    output = {name for cls in kind.__mro__ for name in vars(cls)}
    asked = {name for cls in kind.__mro__ for name in vars(cls).get("__annotations__", {})}
    assert asked <= output, "declared by a base, and said by nobody"
    assert not [name for name in output if getattr(getattr(kind, name, None), "__isabstractmethod__", False)]
    assert (kind.unit == "netlink") == issubclass(kind, Netlink)


def named_in(file: Path) -> Iterator[str]:
    """What a file imports of nslab's kernel objects, or names in a string, as keys do."""
    modules: set[str] = set()
    yield from imported_by(file)
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.ImportFrom(module="nslab.objects", names=names):
                modules |= {alias.asname or alias.name for alias in names}
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in modules:
                yield name
            case ast.Constant(value=str(text)):
                yield text


def files(*rooms: str) -> Iterator[Path]:
    """The modules of some folders and files of nslab."""
    for room in rooms:
        path = ROOT / "nslab" / room
        assert path.exists(), room
        yield from sorted(path.rglob("*.py")) if path.is_dir() else (path,)


def test_no_machinery_names_a_kind() -> None:
    names = {kind.__name__ for kind in kinds()} - {"Netns"}  # which everything requires
    found = {str(file.relative_to(ROOT)): names & {*named_in(file)} for file in files(*MACHINERY)}
    assert {file: output for file, output in found.items() if output} == {}


def test_who_decides_about_kinds_is_known() -> None:
    """Beside its own family, a kind is named where somebody wants it or asks for it, and there alone."""
    names = {kind.__name__ for kind in kinds()}
    deciding = [ROOT / "nslab" / room for room in DECIDING]
    others = [
        str(file.relative_to(ROOT))
        for file in files("")
        if file.parent.name != "objects"
        and names & {*imported_by(file)}
        and not any(file.is_relative_to(room) for room in deciding)
    ]
    assert others == []


def imported_by(file: Path) -> Iterator[str]:
    """What a file imports of nslab's kernel objects."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("nslab.objects."):
                yield from (alias.name for alias in names)


# --- A kind that nslab does not have


@dataclass(frozen=True, slots=True)
class Macvlan(Link):
    """An interface with a MAC of its own on another one's wire."""

    mac: str
    parent: str
    mtu: int = 1500

    rank: ClassVar[int] = Layer.DEVICE + 1
    driver: ClassVar[str] = "macvlan"
    primitives: ClassVar[tuple[str, ...]] = ("macvlan",)

    @property
    def requires(self) -> tuple[Key, ...]:
        return (("Netns", self.ns), ("Device", self.ns, self.parent))

    @property
    def macs(self) -> Mapping[Key, str]:
        return {mac_of(self.ns, self.name): self.mac}

    def changes_into(self, new: KernelObject) -> bool:
        return isinstance(new, Macvlan) and self.parent == new.parent

    def described(self) -> str:
        return f"link {self.parent} address {self.mac} mtu {self.mtu} type macvlan"

    def attributes(self, indexes: Indexes) -> bytes:
        return bytes([indexes.index(self.ns, self.parent)])

    def found(self, near: Interface, _there: Mapping[str, Interfaces]) -> Device | None:
        return replace(self, mac=near.mac, mtu=near.mtu)

    @property
    def label(self) -> str:
        return f"macvlan {self.name} on {self.parent}"

    @property
    def listed(self) -> tuple[str, str]:
        return "macvlans", self.name


class Numbers:
    """Every interface has the same one."""

    def index(self, _ns: str, _name: str) -> int:
        return 7

    fresh = index

    def netns(self, _ns: str) -> int:
        return 9


MINE = Macvlan("nslab.l.n", "mv0", "02:00:00:00:00:01", "d0", by="somebody")
BELOW: State = (Netns("nslab.l.n"), Dummy("nslab.l.n", "d0"))
WANT: State = (
    *BELOW,
    MINE,
    LinkUp("nslab.l.n", "mv0"),
    Address("nslab.l.n", "mv0", IPv4Interface("10.0.0.1/24")),
)
OTHER = replace(MINE, mtu=1400)


def run(kernel: FakeKernel, *steps: Step) -> None:
    for transaction in transactions(steps):
        kernel.run(transaction)


def test_a_made_up_kind_is_planned() -> None:
    assert diff((), WANT) == tuple(map(Add, WANT))
    assert diff(WANT, BELOW) == (Remove(MINE),), "it takes along what requires it"
    assert diff(WANT, (*BELOW, OTHER, *WANT[3:])) == (Replace(MINE, OTHER),)
    elsewhere = replace(MINE, parent="d1")
    want = (*BELOW, Dummy("nslab.l.n", "d1"), elsewhere, *WANT[3:])
    assert diff(WANT, want) == (Remove(MINE), *map(Add, want[2:]))
    assert invert(diff((), WANT)) == tuple(map(Remove, reversed(WANT)))
    assert [unit.unit for unit in transactions(diff((), WANT))] == ["netns", "netlink"]


def test_a_made_up_kind_is_typed_and_told() -> None:
    made = "ip -n nslab.l.n link add mv0 link d0 address 02:00:00:00:00:01 mtu 1500 type macvlan"
    assert commands(Add(MINE)) == [made]
    assert commands(Replace(MINE, OTHER)) == ["ip -n nslab.l.n link set mv0 mtu 1400"]
    assert f"# somebody\n{made}\n" in script(diff((), WANT), "t", "nslab.l.")
    ((ns, message),) = linux._encode(Add(MINE), Numbers())
    assert ns == "nslab.l.n"
    assert b"mv0" in message


def test_the_fake_kernel_knows_a_made_up_kind() -> None:
    kernel = FakeKernel()
    run(kernel, *diff((), WANT))
    assert kernel.state() == WANT
    for steps, number in (
        ((Add(MINE),), errno.EEXIST),
        ((Remove(Dummy("nslab.l.n", "d0")), Add(MINE)), errno.ENODEV),
    ):
        with pytest.raises(Refused) as refused:
            run(FakeKernel(WANT), *steps)
        assert refused.value.reason == os.strerror(number)
    run(kernel, Remove(WANT[1]))
    assert kernel.state() == WANT[:1], "it goes with its parent, and takes along its address"


def test_a_made_up_kind_is_read_back() -> None:
    near = Interface(2, "macvlan", True, "02:00:00:00:00:02", 1400, 0, 0, False, {})
    seen = list(links.seen((MINE,), {"nslab.l.n": {"mv0": near}}))
    assert seen == [replace(MINE, mac="02:00:00:00:00:02", mtu=1400)]


def test_a_made_up_kind_has_a_name() -> None:
    assert trouble(Add(MINE)) == "n has no macvlan mv0 on d0 (somebody's)"
    assert trouble(Replace(OTHER, MINE)) == "n's macvlan mv0 on d0 has MTU 1400 instead of 1500 (somebody's)"
    assert delta((Add(MINE),)) == ["n:", "  + macvlans: mv0"]
    assert needs(WANT) == {"network namespaces", "dummy", "macvlan"}
    assert not issubclass(Macvlan, Supervised)


# --- The order of things


@pytest.mark.parametrize("name", variants())
def test_what_is_required_ranks_below(name: str) -> None:
    """Removal goes by rank, and `diff` looks below first."""
    state = compile_lab(*variants()[name])
    ranks = {key: obj.rank for obj in state for key in obj.provides}
    wrong = {(type(obj).__name__, key[0]) for obj in state for key in obj.requires if ranks.get(key, -1) >= obj.rank}
    assert wrong == set()


def test_no_two_families_import_each_other() -> None:
    """Not even for the sake of a type."""
    imports = {
        file.stem: {module.removeprefix("nslab.objects.") for module in modules_of(file)}
        for file in files("objects")
        if file.parent.name == "objects"
    }
    while leaves := {name for name, wanted in imports.items() if not wanted & imports.keys()}:
        imports = {name: wanted for name, wanted in imports.items() if name not in leaves}
    assert imports == {}


def modules_of(file: Path) -> Iterator[str]:
    """The modules of nslab's kernel objects that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        match node:
            case ast.ImportFrom(module="nslab.objects", names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module)) if module.startswith("nslab.objects."):
                yield module
