"""`dataclass`, `field` and `replace` as in the standard library's `dataclasses`, with fast declarations.

At start-up nslab declares more than a hundred frozen classes. The library compiles about six functions for each, though
a command makes objects of few of them; this module compiles a function on its first call. The library's functions
accept these objects, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass", "field", "fields", "replace"]

if TYPE_CHECKING:
    from dataclasses import dataclass, field, fields, replace
else:
    _MISSING = object()
    _FIELDS = "_fields_of_class"

    class _Field:
        __slots__ = ("compare", "default", "default_factory", "init", "kw_only", "name", "repr", "type")

        def __init__(self, default, default_factory, init, repr, compare, kw_only):  # noqa: A002 - the library's name
            self.default, self.default_factory = default, default_factory
            self.init, self.repr, self.compare, self.kw_only = init, repr, compare, kw_only

    def field(
        *,
        default=_MISSING,
        default_factory=_MISSING,
        init=True,
        repr=True,  # noqa: A002
        compare=True,
        kw_only=False,
    ):
        """The properties of a field besides its type."""
        return _Field(default, default_factory, init, repr, compare, kw_only)

    def dataclass(*, slots, frozen=False):
        """A decorator that makes a class with `__slots__` from its annotated fields; a frozen one has a hash."""
        assert slots, "with a dictionary for each object it would be another class"
        return lambda cls: _made(cls, frozen)

    def fields(obj):
        """The fields of an object or a class, each with its name, type, default and so on."""
        return tuple(getattr(obj, _FIELDS).values())

    def replace(obj, /, **changes):
        """A copy of the object with other values in some fields."""
        for name, one in getattr(obj, _FIELDS).items():
            if one.init and name not in changes:
                changes[name] = getattr(obj, name)
        return obj.__class__(**changes)

    def _made(cls, frozen):
        kinds = {name: kind for name, kind in cls.__annotations__.items() if not kind.startswith("ClassVar")}
        own = {name: _declared(cls, name, kind) for name, kind in kinds.items()}
        inherited = {}
        for base in cls.__mro__[-1:0:-1]:
            inherited |= base.__dict__.get(_FIELDS, {})
        fields = inherited | own
        lazy = {name: _at_first_call(name, make, lambda: made) for name, make in _LAZY.items()}
        shared = {"__repr__": _repr, **lazy} | ({} if frozen else {"__hash__": None})
        rest = {name: value for name, value in cls.__dict__.items() if name not in {*own, "__dict__", "__weakref__"}}
        if frozen:
            shared |= {"__setattr__": _unchangeable, "__delattr__": _unchangeable}
        if rest.get("__hash__") is None:  # None in a class with its own __eq__
            rest.pop("__hash__", None)
        members = {
            "__getstate__": _getstate,
            "__setstate__": _setstate,
            **shared,
            **rest,
            "__slots__": tuple(name for name in own if name not in inherited),
            "__match_args__": tuple(name for name, one in fields.items() if one.init and not one.kw_only),
            "__dataclass_fields__": _LibraryFields(),
            _FIELDS: fields,
        }
        # A class gets its slots only when it is created.
        made = type(cls)(cls.__name__, cls.__bases__, members)
        made.__qualname__ = cls.__qualname__
        return made

    def _declared(cls, name, kind):
        found = cls.__dict__.get(name, _MISSING)
        if not isinstance(found, _Field):
            found = field(default=found)
        if found.default.__class__.__hash__ is None:
            raise ValueError(f"all objects would share the default of {name}; use default_factory")
        found.name, found.type = name, kind
        return found

    def _at_first_call(name, make, whose):
        """A method that is compiled on its first call. The object may be of a subclass with a method of its own."""

        def first(self, *args, **kwargs):
            cls = whose()
            method = make(cls)
            setattr(cls, name, method)
            return method(self, *args, **kwargs)

        return first

    def _comparison(cls):
        ours, theirs = (_values(cls, name) for name in ("self", "other"))
        body = f"return {ours} == {theirs} if other.__class__ is self.__class__ else NotImplemented"
        return _function(cls, "__eq__", "self, other", body, {})

    def _hash(cls):
        return _function(cls, "__hash__", "self", f"return hash({_values(cls, 'self')})", {})

    def _values(cls, whose):
        return f"({''.join(f'{whose}.{name},' for name, one in getattr(cls, _FIELDS).items() if one.compare)})"

    def _repr(self):
        shown = (f"{name}={getattr(self, name)!r}" for name, one in getattr(self, _FIELDS).items() if one.repr)
        return f"{self.__class__.__qualname__}({', '.join(shown)})"

    def _unchangeable(_self, name, *_value):
        from dataclasses import FrozenInstanceError

        raise FrozenInstanceError(f"cannot assign to or delete field {name!r}")

    def _getstate(self):
        return [getattr(self, name) for name in getattr(self, _FIELDS)]

    def _setstate(self, state):
        for name, value in zip(getattr(self, _FIELDS), state, strict=True):
            object.__setattr__(self, name, value)

    def _initial(cls):
        fields = getattr(cls, _FIELDS)
        known = {f"set_{name}": getattr(cls, name).__set__ for name in fields} | {"MISSING": _MISSING}
        known |= {f"default_{name}": one.default for name, one in fields.items() if one.default is not _MISSING}
        known |= {f"make_{name}": one.default_factory for name, one in fields.items()}
        lines = [line for one in fields.values() for line in _assignment(one)]
        if hasattr(cls, "__post_init__"):
            lines.append("self.__post_init__()")
        arguments = [_argument(one) for one in fields.values() if one.init and not one.kw_only]
        named = [_argument(one) for one in fields.values() if one.init and one.kw_only]
        head = ", ".join(["self", *arguments, *(["*", *named] if named else [])])
        return _function(cls, "__init__", head, "\n ".join([*lines, "pass"]), known)

    _LAZY = {"__eq__": _comparison, "__hash__": _hash, "__init__": _initial}

    def _function(cls, name, head, body, known):
        exec(f"def {name}({head}):\n {body}", known)  # noqa: S102 - nothing but names from our own source
        known[name].__qualname__ = f"{cls.__qualname__}.{name}"
        return known[name]

    def _argument(one):
        if one.default_factory is not _MISSING:
            return f"{one.name}=MISSING"
        return one.name if one.default is _MISSING else f"{one.name}=default_{one.name}"

    def _assignment(one):
        name = one.name
        if one.default_factory is not _MISSING:
            fresh = f"make_{name}() if {name} is MISSING else {name}" if one.init else f"make_{name}()"
            yield f"set_{name}(self, {fresh})"
        elif one.init:
            yield f"set_{name}(self, {name})"
        elif one.default is not _MISSING:
            yield f"set_{name}(self, default_{name})"

    def _declaring(cls):
        return next(base for base in cls.__mro__ if _FIELDS in base.__dict__)

    class _LibraryFields:
        """The library's own __dataclass_fields__, created on first access."""

        def __get__(self, _obj, cls):
            import dataclasses

            cls = _declaring(cls)
            found = dataclasses.make_dataclass(cls.__name__, map(_of_library, getattr(cls, _FIELDS).values()))
            cls.__dataclass_fields__ = found.__dataclass_fields__
            return cls.__dataclass_fields__

    def _of_library(one):
        import dataclasses

        ways = {name: getattr(one, name) for name in ("init", "repr", "compare", "kw_only")}
        values = {name: getattr(one, name) for name in ("default", "default_factory")}
        given = {name: value for name, value in values.items() if value is not _MISSING}
        return one.name, one.type, dataclasses.field(**ways, **given)
