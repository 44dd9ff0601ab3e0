"""The file that a simulator survives kill -9 with: every batch, and the prices between them.

One record a line. A batch is one line and is on the disk (fsync) before anyone can see it; prices,
halts and clock steps are handed to the operating system at once and go to the disk with the next
batch. A line torn by a crash is the last one and is cut off. Records, by their first letter:

* ``{`` the header: seed, start, whether the clock is the wall's; a restart takes them up
* ``T account counts [transactions]`` a batch, and how many requests of each kind had come
* ``Q instrument time bid ask tradeable`` a price with the standard ladder, in points
* ``L json`` a price with another ladder
* ``H instrument halted`` a halt or its end
* ``C time`` the clock
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mbats.errors import DataError
from mbats.local.oanda_sim.quotes import Quote

_VERSION = 1


class Journal:
    """Append-only records in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._cut_torn_line()
        self._file: IO[bytes] = path.open("ab", buffering=0)

    @property
    def is_new(self) -> bool:
        """Whether nothing is written yet."""
        return self.path.stat().st_size == 0

    def header(self, seed: int, start_ns: int, follows_wall: bool) -> None:
        """Write what a restart needs to know first."""
        known = {"version": _VERSION, "seed": seed, "start_ns": start_ns, "wall": follows_wall}
        self._write(json.dumps(known))
        os.fsync(self._file.fileno())

    def batch(self, account_id: str, counts: dict[str, int], lines: list[str]) -> None:
        """Write one batch and return when it is on the disk."""
        self._write(
            f"T {account_id} {json.dumps(counts, separators=(',', ':'))} [{','.join(lines)}]"
        )
        os.fsync(self._file.fileno())

    def quote(self, quote: Quote) -> None:
        """Write a price."""
        if quote.is_standard:
            flag = int(quote.tradeable)
            self._write(f"Q {quote.instrument} {quote.time_ns} {quote.bid} {quote.ask} {flag}")
        else:
            self._write(f"L {json.dumps(quote.document())}")

    def halt(self, instrument: str, halted: bool) -> None:
        """Write a halt or its end."""
        self._write(f"H {instrument} {int(halted)}")

    def clock(self, ns: int) -> None:
        """Write how far the clock is."""
        self._write(f"C {ns}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def records(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each record as its letter and its fields."""
        with self.path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                letter, fields = line[0], line.rstrip("\n").split(" ", 3 if line[0] == "T" else -1)
                if letter == "{":
                    yield letter, [line]
                elif letter in "TQLHC":
                    yield letter, fields[1:] if letter != "L" else [line[2:]]
                else:
                    raise DataError(
                        f"{self.path}, line {number} is no record of the simulator.",
                        mend="name another --state file, or remove this one to start anew",
                    )

    def _write(self, line: str) -> None:
        self._file.write(line.encode() + b"\n")

    def _cut_torn_line(self) -> None:
        if not self.path.exists():
            self.path.touch()
            return
        with self.path.open("rb+") as file:
            content_end = file.seek(0, os.SEEK_END)
            at = content_end
            while at > 0:
                step = min(4096, at)
                file.seek(at - step)
                block = file.read(step)
                if (newline := block.rfind(b"\n")) >= 0:
                    at = at - step + newline + 1
                    break
                at -= step
            if at != content_end:
                file.truncate(at)
