"""What every command shares: the settings, resolved once from flags, environment and file."""

from functools import lru_cache
from pathlib import Path
from typing import Any

from mbats.config import Resolved, Settings, load

_flags: dict[str, Any] = {}


def remember_flags(**flags: Any) -> None:
    """Keep the global flags of this invocation; called by the root command only."""
    _flags.clear()
    _flags.update({name: value for name, value in flags.items() if value is not None})
    resolved.cache_clear()


def flags() -> dict[str, Any]:
    """Return the global flags of this invocation."""
    return dict(_flags)


@lru_cache(maxsize=1)
def resolved() -> Resolved:
    """Return the settings with their origins."""
    return load(flags=_flags, start=Path.cwd())


def settings() -> Settings:
    """Return the settings."""
    return resolved().settings
