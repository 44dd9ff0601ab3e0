"""Finding a strategy: one file, one class, parameters typed by their defaults."""

import hashlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import backtrader as bt

from mbats.errors import ConfigError, DataError

FOLDER = "strategies"
_SHIPPED = Path(__file__).resolve().parent.parent.parent / FOLDER
_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class LoadedStrategy:
    """A strategy class, the name it goes by (its file's), and its parameters, resolved.

    ``file_hash`` is the beginning of the file's SHA-256: the commit does not cover every file.
    """

    name: str
    strategy: type[bt.Strategy]
    parameters: Mapping[str, Any]
    file_hash: str = ""


def load_strategy(reference: str, given: Mapping[str, str] | None = None) -> LoadedStrategy:
    """Return the strategy that ``reference`` names, with ``given`` parameters as text.

    ``reference`` is a path to a Python file, ``strategies.<name>``, or ``<name>`` in the folder
    ``strategies`` here or beside the library. Raises :class:`ConfigError` where no file is
    found or a parameter is wrong, :class:`DataError` where the file has no one strategy.
    """
    path = _find(reference)
    strategy = _the_class(path)
    resolved = parameters(strategy, path.stem, given or {})
    file_hash = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return LoadedStrategy(path.stem, strategy, resolved, file_hash)


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
