"""A model as files that hold no code: what it consists of in JSON, its arrays, and LightGBM's own text.

    model.json        the model as a tree of values; an object is {class name: its fields or state}
    arrays.npz        its arrays, all of one type after each other; the tree names the type, the start and the shape
    lightgbm-1.txt    a booster

Reading makes only classes of the list it is given, by their constructors or from their state as their libraries
define it. No name from a file is imported or called, and nothing is unpickled.
"""

import io
import json
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import BaseModel

if TYPE_CHECKING:
    from lightgbm import Booster

FORMAT = "plain-1"
"""Of these files; another number for files that this module could not read."""

TREE, ARRAYS, BOOSTER = "model.json", "arrays.npz", "lightgbm-{}.txt"


def plain_files(model: object, classes: Collection[type]) -> dict[str, bytes]:
    """The files of `model`, by name; equal models have equal files.

    Raises:
        TypeError: a part of it is of none of `classes`, and no plain value, array or booster.
    """
    writer = _Writer(classes)
    tree = {"format": FORMAT, "model": writer.plain(model)}
    arrays = io.BytesIO()
    np.savez(arrays, **{name: _joined(parts) for name, parts in writer.arrays.items()})  # type: ignore[arg-type]
    return {TREE: json.dumps(tree).encode(), ARRAYS: arrays.getvalue(), **writer.boosters}


def model_of(files: Mapping[str, bytes], classes: Collection[type]) -> Any:
    """The model of `plain_files`; answers as the one that was stored, to the bit.

    Raises:
        KeyError, TypeError, ValueError: these are no such files, or they hold other classes or fields.
    """
    tree = json.loads(files[TREE])
    if tree["format"] != FORMAT:
        raise ValueError(f"the format is {tree['format']!r}, not {FORMAT!r}")
    with np.load(io.BytesIO(files[ARRAYS]), allow_pickle=False) as arrays:
        return _Reader(files, dict(arrays), classes).value(tree["model"])


class _Writer:
    """Collects arrays and boosters on its way through a model."""

    def __init__(self, classes: Collection[type]) -> None:
        self.classes = set(classes)
        self.arrays: dict[str, list[np.ndarray]] = {}
        self.boosters: dict[str, bytes] = {}
        self._names: dict[np.dtype, str] = {}
        self._sizes: dict[str, int] = {}

    def plain(self, value: Any) -> Any:
        """A value as JSON has it."""
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is list:
            return [self.plain(each) for each in value]
        if kind in self.classes:
            return {kind.__name__: self.plain(_state(value))}
        name, plain = next(
            ((name, plain) for name, (base, plain) in self._kinds.items() if isinstance(value, base)), (None, None)
        )
        if plain is None and f"{kind.__module__}.{kind.__name__}" == "lightgbm.basic.Booster":
            name, plain = "lightgbm", _Writer._booster
        if plain is None:
            raise TypeError(f"A {kind.__module__}.{kind.__qualname__} cannot be stored: name it in `stored_types`.")
        return {name: plain(self, value)}

    def _mapping(self, value: Mapping[str, Any]) -> dict[str, Any]:
        if odd := next((key for key in value if type(key) is not str), None):
            raise TypeError(f"A mapping with the key {odd!r} cannot be stored: its keys must be texts.")
        return {key: self.plain(each) for key, each in value.items()}

    def _array(self, value: np.ndarray) -> list[Any]:
        if value.dtype.hasobject:
            raise TypeError(f"An array of {value.dtype} cannot be stored: give its values a type.")
        by_columns = value.flags.f_contiguous and not value.flags.c_contiguous
        flat = (value.T if by_columns else value).reshape(-1)
        records = f"records-{len(self._names)}"
        name = self._names.setdefault(flat.dtype, records if flat.dtype.names else str(flat.dtype))
        start = self._sizes.get(name, 0)
        self.arrays.setdefault(name, []).append(flat)
        self._sizes[name] = start + len(flat)
        return [name, start, list(value.shape), "F" if by_columns else "C"]

    def _booster(self, value: "Booster") -> str:
        name = BOOSTER.format(len(self.boosters) + 1)
        self.boosters[name] = value.model_to_string(num_iteration=-1).encode()
        return name

    _kinds: Mapping[str, tuple[type, Callable[["_Writer", Any], Any]]] = {
        "tuple": (tuple, lambda self, value: [self.plain(each) for each in value]),
        "mapping": (Mapping, _mapping),
        "array": (np.ndarray, _array),
        "number": (np.generic, lambda self, value: self._array(np.asarray(value))),
        "dtype": (np.dtype, lambda _, value: value.str),
        "time": (pd.Timestamp, lambda _, value: [value.isoformat(), value.unit]),
    }


class _Reader:
    """Makes a model of its files."""

    def __init__(self, files: Mapping[str, bytes], arrays: Mapping[str, np.ndarray], classes: Collection[type]) -> None:
        self.files, self.arrays = files, arrays
        self.classes = {each.__name__: each for each in classes}
        self.kinds: Mapping[str, Callable[[Any], Any]] = {
            "tuple": lambda plain: tuple(map(self.value, plain)),
            "mapping": self._mapping,
            "array": self._array,
            "number": lambda plain: self._array(plain)[()],
            "dtype": np.dtype,
            "time": lambda plain: pd.Timestamp(plain[0]).as_unit(plain[1]),
            "lightgbm": self._booster,
        }

    def value(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return [self.value(each) for each in plain]
        if not isinstance(plain, dict):
            return plain
        ((name, content),) = plain.items()
        read = self.kinds.get(name)
        return read(content) if read else _restored(self.classes[name], self.value(content))

    def _mapping(self, plain: dict[str, Any]) -> dict[str, Any]:
        return {key: self.value(each) for key, each in plain.items()}

    def _array(self, plain: list[Any]) -> np.ndarray:
        name, start, shape, order = plain
        flat = self.arrays[name][start : start + math.prod(shape)].copy()
        return flat.reshape(shape[::-1]).T if order == "F" else flat.reshape(shape)

    def _booster(self, plain: str) -> "Booster":
        from lightgbm import Booster
        from lightgbm.basic import LightGBMError

        try:
            return Booster(model_str=self.files[plain].decode())
        except LightGBMError as error:
            raise ValueError(str(error)) from error


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    names = parts[0].dtype.names
    if names is None:
        return np.concatenate(parts)
    whole = np.zeros(sum(map(len, parts)), parts[0].dtype)
    for name in names:  # field by field, as there may be anything between them
        whole[name] = np.concatenate([part[name] for part in parts])
    return whole


def _fields(kind: type) -> list[str] | None:
    """What a constructor takes; None: the class is made of its state."""
    if is_dataclass(kind):
        return [each.name for each in fields(kind)]
    return list(kind.model_fields) if issubclass(kind, BaseModel) else None


def _state(value: Any) -> Any:
    names = _fields(type(value))
    if names is not None:
        return {name: getattr(value, name) for name in names}
    if type(value).__reduce__ is not object.__reduce__:  # compiled: arguments of the constructor, and perhaps a state
        return value.__reduce__()[1:]
    return value.__getstate__() or {}


def _restored(kind: type, state: Any) -> Any:
    names = _fields(kind)
    if names is not None:
        if state.keys() != set(names):
            raise ValueError(f"{kind.__name__} has other fields: {sorted(state.keys() ^ set(names))}")
        return kind(**state)
    if isinstance(state, tuple):
        value, rest = kind(*state[0]), state[1:]
    else:
        value, rest = object.__new__(kind), (state,)
    for each in rest:
        if hasattr(value, "__setstate__"):
            value.__setstate__(each)
        else:
            vars(value).update(each)
    return value
