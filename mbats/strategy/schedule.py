"""The strategy schedule, strategies.csv: which strategy runs where, strictly read. Pure.

A comma-separated file with the columns `Strategy, Mode, Securities, Model ID, Account, Strategy
Parameters`, one strategy a row. A file with one problem loads not at all: half a schedule is a
desk that nobody asked for. A broker token has no place in it: what looks like one is refused, and
never repeated in a message.
"""

import csv
import io
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mbats.errors import DataError
from mbats.market.instrument import parse_name

COLUMNS = ("Strategy", "Mode", "Securities", "Model ID", "Account", "Strategy Parameters")
MAX_BYTES = 1_000_000
MAX_ROWS = 1_000
SHOWN = 40
SECRET = "it has been in a file: change it at the broker"
"""What is said of a secret, and of no other problem."""


class RowMode(StrEnum):
    """What a row of the schedule starts."""

    BACKTEST = "backtest"
    PAPER = "paper"
    PRACTICE = "practice"
    LIVE = "live"


TRADING = (RowMode.PAPER, RowMode.PRACTICE, RowMode.LIVE)

_STRATEGY = re.compile(r"[a-z][a-z0-9_]{0,63}")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@-]{0,199}")
_INSTRUMENT = re.compile(r"[A-Z0-9]{3,6}[_/][A-Z0-9]{3,6}")
_ACCOUNT = re.compile(r"[0-9]{3}-[0-9]{3}-[0-9]{5,9}-[0-9]{3}")
_PARAMETER = re.compile(r"[a-z_][A-Za-z0-9_]{0,63}")
_VALUE = re.compile(r"[A-Za-z0-9_.:+/@%-]{1,200}")
_PAPER = "000-"
OF_THE_BOT = ("granularity", "size")
"""Parameters that are not the strategy's but its bot's: alike in all rows of an account."""

PAPER_ACCOUNT = "000-001-0000001-001"
"""The account of a paper row that names none."""


_SECRET_NAME = re.compile(
    r"token|secret|passw|credential|bearer|api.?key|private.?key", re.IGNORECASE
)
_SECRET_VALUE = re.compile(
    r"[0-9a-f]{32}-[0-9a-f]{32}"  # OANDA's access token
    r"|(?<![A-Za-z0-9_-])(?:xox[a-z]-|gh[a-z]_|ya29\.|AKIA|AIza|eyJ)[A-Za-z0-9_.-]{8,}"
    r"|-----BEGIN|\bbearer\s"
    r"|(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{40,}",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. ``row`` is the row in a spreadsheet (the header's is 1)."""

    row: int | None
    column: str
    reason: str

    def __str__(self) -> str:
        row = f"row {self.row}" if self.row else "the file"
        return (
            f"{row}, column {self.column}: {self.reason}"
            if self.column
            else f"{row}: {self.reason}"
        )


@dataclass(frozen=True)
class Scheduled:
    """One row that may run. ``account`` and ``model_id`` are empty where none is given."""

    row: int
    strategy: str
    mode: RowMode
    securities: tuple[str, ...]
    model_id: str = ""
    account: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def schedule_id(self) -> str:
        """What the row is known by: it stays the same when parameters or the model change."""
        account = self.account if self.mode in TRADING else ""  # a backtest needs none
        parts = (self.strategy, self.mode, account or "-", "+".join(sorted(self.securities)))
        return "/".join(parts)


@dataclass(frozen=True)
class Schedule:
    """What a file says. With any problem nothing of it may be put in force."""

    entries: Sequence[Scheduled]
    problems: Sequence[Problem]

    def rows(self, source: str) -> list[dict[str, Any]]:
        """Return the entries as rows of ``risk.strategy_schedule``, but for ingested_at."""
        return [
            {
                "schedule_id": entry.schedule_id,
                "strategy": entry.strategy,
                "mode": entry.mode.value,
                "instruments": list(entry.securities),
                "model_id": entry.model_id or None,
                "account": entry.account or None,
                "parameters": dict(entry.parameters),
                "active": True,
                "source": source,
                "source_row": entry.row,
            }
            for entry in self.entries
        ]


def read_schedule(content: bytes, known: Collection[str] | None = None) -> Schedule:
    """Return the rows and the problems of a strategies.csv.

    With ``known`` a strategy that is not in it is a problem. Raises :class:`DataError` for what is
    no such file at all: too big, not text, or without the columns.
    """
    table = _cells(content)
    number, header = next(iter(table), (1, []))
    columns = _columns(number, header)
    entries: list[Scheduled] = []
    problems: list[Problem] = []
    for row, cells in table[1:]:
        found = _read_row(row, cells, columns, known)
        if isinstance(found, Scheduled):
            entries.append(found)
        else:
            problems += found
    problems += _conflicts(entries)
    if not entries and not problems:
        reason = "it has no strategies; to stop them all, `mbats halt`, then remove their rows"
        problems.append(Problem(None, "", reason))
    return Schedule(entries, sorted(problems, key=lambda p: p.row or 0))


def _cells(content: bytes) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, with their numbers."""
    if len(content) > MAX_BYTES:
        raise _no_schedule(f"It has {len(content):,} bytes; the limit is {MAX_BYTES:,}.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _no_schedule(f"It is not UTF-8 text (byte {error.start + 1}).") from error
    if "\0" in text:
        raise _no_schedule("It holds zero bytes: it is no text.")
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise _no_schedule(f"Its commas and quotes cannot be read: {error}.") from error
    if len(rows) > MAX_ROWS:
        raise _no_schedule(f"It has {len(rows):,} rows; the limit is {MAX_ROWS:,}.")
    numbered = [(n, [cell.strip() for cell in row]) for n, row in enumerate(rows, start=1)]
    return [(n, cells) for n, cells in numbered if any(cells)]


def _columns(number: int, header: Sequence[str]) -> list[str]:
    """Return the names of the columns, in the file's order."""
    if any(_SECRET_NAME.search(name) or _SECRET_VALUE.search(name) for name in header):
        raise _no_schedule(
            f"Row {number} has a column for a token or another secret.",
            mend=f"remove that column; if it held a secret, {SECRET}",
        )
    missing = [name for name in COLUMNS if name not in header]
    unknown = [name for name in header if name not in COLUMNS]
    if missing or unknown or len(set(header)) < len(header):
        raise _no_schedule(
            f"Row {number} does not name the columns: "
            f"missing {', '.join(missing) or 'none'}; unknown {', '.join(unknown) or 'none'}"
            f"{'; one is there twice' if len(set(header)) < len(header) else ''}."
        )
    return list(header)


def _read_row(
    row: int, cells: Sequence[str], columns: Sequence[str], known: Collection[str] | None
) -> Scheduled | list[Problem]:
    if any(_SECRET_VALUE.search(cell) for cell in cells):
        named = [c for c, cell in zip(columns, cells, strict=False) if _SECRET_VALUE.search(cell)]
        reason = f"what looks like a secret stands here (not shown); remove it: {SECRET}"
        return [Problem(row, ", ".join(named), reason)]
    if len(cells) > len(columns):
        reason = (
            f"{len(cells)} cells under {len(columns)} columns; put a cell that holds commas "
            'in double quotes: "EUR_USD,USD_JPY"'
        )
        return [Problem(row, "", reason)]
    cell = dict.fromkeys(columns, "") | dict(zip(columns, cells, strict=False))
    problems: list[Problem] = []

    def read(column: str, reader: Any) -> Any:
        try:
            return reader(cell[column])
        except DataError as error:
            problems.append(Problem(row, column, error.cause))
            return None

    mode = read("Mode", _mode)
    entry = {
        "strategy": read("Strategy", lambda text: _strategy(text, known)),
        "securities": read("Securities", _securities),
        "model_id": read("Model ID", _model),
        "account": read("Account", lambda text: _account(text, mode)),
        "parameters": read("Strategy Parameters", _parameters),
    }
    return problems or Scheduled(row=row, mode=mode, **entry)


def _shown(text: str) -> str:
    """Return a short text as it is; of a long one, which may be anything, only its length."""
    return repr(text) if len(text) <= SHOWN else f"a text of {len(text)} characters"


def _mode(text: str) -> RowMode:
    try:
        return RowMode(text)
    except ValueError:
        raise DataError(f"{_shown(text)} is none of {', '.join(RowMode)}") from None


def _strategy(text: str, known: Collection[str] | None) -> str:
    if not _STRATEGY.fullmatch(text):
        raise DataError(
            f"{_shown(text)} is no strategy's name: the name of its file without .py, "
            "for example sma_reversal"
        )
    if known is not None and text not in known:
        raise DataError(f"there is no strategy {text!r}; there are {', '.join(sorted(known))}")
    return text


def _securities(text: str) -> tuple[str, ...]:
    parts = [part for part in re.split(r"[,;\s]+", text) if part]
    if not parts:
        raise DataError("no instrument; give for example EUR_USD,USD_JPY")
    if long := [part for part in parts if len(part) > SHOWN]:
        raise DataError(f"{_shown(long[0])} is no instrument")
    names = [parse_name(part) for part in parts]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{', '.join(twice)} is there twice")
    return tuple(names)


def _model(text: str) -> str:
    if _INSTRUMENT.fullmatch(text):  # of securities with commas and without quotes
        raise DataError(
            f'{text} reads as an instrument; put securities in double quotes: "A_B,C_D"'
        )
    if text and not _MODEL.fullmatch(text):
        raise DataError(
            f"{_shown(text)} is no model: a run id or models:/name@alias, or empty for none"
        )
    return text


def _account(text: str, mode: RowMode | None) -> str:
    if text and not _ACCOUNT.fullmatch(text):
        raise DataError(f"{_shown(text)} is no account id, for example 101-001-1234567-001")
    if mode in (RowMode.PRACTICE, RowMode.LIVE) and (not text or text.startswith(_PAPER)):
        raise DataError(f"mode {mode} needs a broker's account; {text or 'an empty one'} is none")
    if mode is RowMode.PAPER and text and not text.startswith(_PAPER):
        raise DataError(
            f"{text} is a broker's account; paper accounts, and only they, are {_PAPER}…"
        )
    return text


def _parameters(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in re.split(r"[,;]", text):
        if not part.strip():
            continue
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign or not _PARAMETER.fullmatch(name):
            raise DataError(f"{_shown(part.strip())} is no name=value")
        if _SECRET_NAME.search(name):
            raise DataError(f"parameter {name} is for a secret; if it is one, {SECRET}")
        if not _VALUE.fullmatch(value):
            raise DataError(
                f"parameter {name} cannot be {_shown(value)}: only letters, digits and _.:+/@%-"
            )
        if name in pairs:
            raise DataError(f"parameter {name} is there twice")
        pairs[name] = value
    return pairs


def _conflicts(entries: Sequence[Scheduled]) -> list[Problem]:
    """Return the rows that an earlier one excludes: one account has one bot of one mode."""
    problems = []
    rows: dict[str, int] = {}
    accounts: dict[str, list[Scheduled]] = {}
    for entry in entries:
        first = rows.setdefault(entry.schedule_id, entry.row)
        if first != entry.row:
            problems.append(Problem(entry.row, "", f"it says the same as row {first}"))
        elif entry.mode in TRADING:
            others = accounts.setdefault(entry.account or PAPER_ACCOUNT, [])
            reasons = [reason for other in others if (reason := _excludes(other, entry))]
            problems += [Problem(entry.row, "Account", reason) for reason in reasons[:1]]
            others.append(entry)
    return problems


def _excludes(other: Scheduled, entry: Scheduled) -> str:
    """Return why two rows cannot trade one account, empty where they can."""
    if other.mode is not entry.mode:
        return f"the account is of mode {other.mode} in row {other.row}"
    if other.strategy == entry.strategy:
        return f"{entry.strategy} trades the account in row {other.row} already"
    for name in OF_THE_BOT:
        if other.parameters.get(name) != entry.parameters.get(name):
            return f"{name} is another one on the account in row {other.row}"
    both = sorted(set(other.securities) & set(entry.securities))
    if both:
        return f"{', '.join(both)} belongs to {other.strategy} on the account, by row {other.row}"
    return ""


def _no_schedule(cause: str, mend: str = "") -> DataError:
    form = f"save it as comma-separated UTF-8 text with the columns {', '.join(COLUMNS)}"
    return DataError(
        f"The strategy schedule cannot be read. {cause}",
        tried=["comma-separated text (.csv)"],
        mend=f"{mend}, then {form}" if mend else form,
    )
