"""Finding a strategy: one file, one class, parameters typed by their defaults."""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import backtrader as bt

from mbats.errors import ConfigError, DataError

FOLDER = "strategies"
_PACKAGED = Path(__file__).resolve().parents[1] / "_strategies"
_SHIPPED = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).resolve().parents[2] / FOLDER
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class LoadedStrategy:
    """A strategy class, the name it goes by (its file's), and its parameters, resolved.

    ``file_hash`` is the beginning of the file's SHA-256: the commit does not cover every file.
    One that has a ``file`` may be sent to another process, which loads the file again.
    """

    name: str
    strategy: type[bt.Strategy]
    parameters: Mapping[str, Any]
    file_hash: str = ""
    file: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.file is None:
            return LoadedStrategy, (self.name, self.strategy, self.parameters, self.file_hash)
        return _sent, (self.name, self.file, self.file_hash, dict(self.parameters))


def load_strategy(reference: str, given: Mapping[str, str] | None = None) -> LoadedStrategy:
    """Return the strategy that ``reference`` names, with ``given`` parameters as text.

    ``reference`` is a path to a Python file, ``strategies.<name>``, or ``<name>`` in the folder
    ``strategies`` here or beside the library. Raises :class:`ConfigError` where no file is
    found or a parameter is wrong, :class:`DataError` where the file has no one strategy.
    """
    path = _find(reference)
    strategy = _the_class(path)
    resolved = parameters(strategy, path.stem, given or {})
    return LoadedStrategy(path.stem, strategy, resolved, _hash(path), path)


def load_strategies(
    references: Sequence[str], given: Mapping[str, str] | None = None
) -> list[LoadedStrategy]:
    """Return the strategies that ``references`` name.

    A parameter is given as ``name`` for all of them or as ``strategy.name`` for one. Raises what
    :func:`load_strategy` raises.
    """
    plain = [load_strategy(reference) for reference in references]
    return with_parameters(plain, given or {}) if given else plain


def with_parameters(
    strategies: Sequence[LoadedStrategy], given: Mapping[str, str]
) -> list[LoadedStrategy]:
    """Return ``strategies`` with the ``given`` parameters as text, the others at their defaults.

    Raises :class:`ConfigError` for a parameter or a strategy that is not there.
    """
    names = {loaded.name for loaded in strategies}
    for key in given:
        if "." in key and key.split(".")[0] not in names:
            raise ConfigError(
                f"--param {key} names a strategy that is not run.", tried=sorted(names)
            )
    shared = {key: text for key, text in given.items() if "." not in key}
    made = []
    for loaded in strategies:
        own = {
            key.removeprefix(f"{loaded.name}."): text
            for key, text in given.items()
            if key.startswith(f"{loaded.name}.")
        }
        resolved = parameters(loaded.strategy, loaded.name, {**shared, **own})
        made.append(replace(loaded, parameters=resolved))
    return made


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _sent(name: str, file: Path, file_hash: str, resolved: dict[str, Any]) -> LoadedStrategy:
    return LoadedStrategy(name, _class_of(file, file_hash), resolved, file_hash, file)


@lru_cache(maxsize=64)
def _class_of(file: Path, file_hash: str) -> type[bt.Strategy]:
    """Return the class in ``file``, which must not have changed since it was sent."""
    if _hash(file) != file_hash:
        raise DataError(f"{file} was changed while it ran.", mend="run it again")
    return _the_class(file)


def _find(reference: str) -> Path:
    if reference.endswith(".py"):
        places = [Path(reference)]
    else:
        name = reference.removeprefix(f"{FOLDER}.")
        places = [Path(FOLDER) / f"{name}.py", _SHIPPED / f"{name}.py"]
    for place in places:
        if place.is_file():
            return place.resolve()
    known = known_strategies()
    raise ConfigError(
        f"There is no strategy {reference!r}.",
        tried=[str(place) for place in places],
        mend=f"give a path to a Python file, or one of: {', '.join(known) or '(none here)'}",
    )


def known_strategies() -> Sequence[str]:
    """Return the names that :func:`load_strategy` finds without a path."""
    return sorted({file.stem for folder in (Path(FOLDER), _SHIPPED) for file in _files(folder)})


def _files(folder: Path) -> Sequence[Path]:
    return [file for file in folder.glob("*.py") if not file.stem.startswith("_")]


def _the_class(path: Path) -> type[bt.Strategy]:
    module_name = f"mbats_strategy_{path.stem}"
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise DataError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # backtrader looks a class's module up by name
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise DataError(
            f"{path} cannot be loaded: {type(error).__name__}: {error}.", mend=f"correct {path}"
        ) from error
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, bt.Strategy)
        and value.__module__ == module_name
    ]
    if len(classes) != 1:
        names = ", ".join(c.__name__ for c in classes) or "none"
        raise DataError(
            f"A strategy file holds one strategy class; {path} holds {names}.",
            mend="one strategy a file: move the others out, or derive one from bt.Strategy",
        )
    return classes[0]


def parameters(strategy: type[bt.Strategy], name: str, given: Mapping[str, str]) -> dict[str, Any]:
    """Return every parameter of ``strategy``: its default, or the ``given`` text in its type."""
    defaults: dict[str, Any] = dict(strategy.params._getitems())
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        raise ConfigError(
            f"Strategy {name} has no parameter {unknown[0]!r}.",
            tried=[f"{known} (default {value!r})" for known, value in defaults.items()],
            mend="use one of these",
        )
    return {
        key: _typed(name, key, given[key], default) if key in given else default
        for key, default in defaults.items()
    }


def _typed(strategy: str, name: str, text: str, default: Any) -> Any:
    try:
        if isinstance(default, bool):
            return _TRUTHS[text.strip().lower()]
        if isinstance(default, int | float):
            return type(default)(text)
    except (KeyError, ValueError):
        expected = "true or false" if isinstance(default, bool) else type(default).__name__
        raise ConfigError(
            f"Parameter {name} of {strategy} must be {expected}, not {text!r}.",
            tried=[f"default {default!r}"],
            mend=f"--param {name}=...",
        ) from None
    return text


def parse_assignments(texts: Sequence[str]) -> dict[str, str]:
    """Return name=value texts as a mapping. Raises :class:`ConfigError` for another form."""
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name.strip():
            raise ConfigError(
                f"{text!r} is not a parameter.", mend="write --param name=value, one for each"
            )
        pairs[name.strip()] = value.strip()
    return pairs
