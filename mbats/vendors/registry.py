"""The vendors by name."""

from collections.abc import Sequence
from pathlib import Path

from mbats.config import Settings
from mbats.errors import ConfigError
from mbats.market.history import Vendor
from mbats.vendors.mapping import FileMapping

NAMES = ("ecb", "file", "oanda")


def open_vendor(
    name: str,
    settings: Settings,
    *,
    paths: Sequence[Path] = (),
    mapping: FileMapping | None = None,
) -> Vendor:
    """Return the vendor called ``name``; ``paths`` and ``mapping`` are those of files.

    Raises :class:`ConfigError` for an unknown name, or where what the vendor needs is missing.
    """
    if name == "ecb":
        from mbats.vendors.ecb import EcbVendor

        return EcbVendor()
    if name == "oanda":
        from mbats.vendors.oanda import OandaVendor

        return OandaVendor(settings)
    if name != "file":
        raise ConfigError(f"There is no vendor {name!r}.", mend=f"use one of {', '.join(NAMES)}")
    if mapping is None or not paths:
        raise ConfigError(
            "Vendor `file` needs files and a mapping that says how to read them.",
            tried=["--path", "--mapping"],
            mend="mbats data mapping > mapping.toml, adapt it, and give both",
        )
    from mbats.vendors.files import FileVendor

    return FileVendor(paths, mapping)
