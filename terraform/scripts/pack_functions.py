"""Pack the functions' sources: one zip a function, with the library's wheel, named by its content.

    pack_functions.py WHEEL FOLDER

Writes FOLDER/<function>-<digest>.zip and prints the Terraform variable `functions`. The wheel goes
into the zip and, with its hash, into the requirements: Google's builder installs with hashes, so
nothing is installed that was not locked. The same sources give the same zip, byte for byte.
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

FUNCTIONS = Path(__file__).resolve().parents[2] / "functions"
LONG_AGO = (2020, 2, 2, 0, 0, 0)


def contents(function: Path, wheel: Path) -> dict[str, bytes]:
    """Return what is in a function's zip: file name to bytes."""
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    locked = (function / "requirements.txt").read_text()
    return {
        "main.py": (function / "main.py").read_bytes(),
        "requirements.txt": f"{locked}./{wheel.name} --hash=sha256:{digest}\n".encode(),
        wheel.name: wheel.read_bytes(),
    }


def pack(function: Path, wheel: Path, folder: Path) -> Path:
    """Write one function's zip and return it."""
    files = contents(function, wheel)
    whole = hashlib.sha256()
    for name in sorted(files):
        whole.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    made = folder / f"{function.name.replace('_', '-')}-{whole.hexdigest()[:12]}.zip"
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            archive.writestr(zipfile.ZipInfo(name, LONG_AGO), files[name], zipfile.ZIP_DEFLATED)
    return made


def main() -> None:
    """Pack all functions."""
    wheel, folder = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    sources = sorted(file.parent for file in FUNCTIONS.glob("*/main.py"))
    packed = {
        source.name.replace("_", "-"): f"functions/{pack(source, wheel, folder).name}"
        for source in sources
    }
    print(json.dumps({"functions": packed}, indent=2))


if __name__ == "__main__":
    main()
