"""control/strategies.csv as the DAG factory reads it: a bad row is left out and told, never raised.

The control-file function has read the file strictly before (`mbats.strategy.schedule`); a test
holds that both read a valid file alike. What is left here is what only the cloud knows: whether an
account has a bot.
"""

import csv
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

FILE = Path(__file__).parents[1] / "control" / "strategies.csv"
COLUMNS = ("Strategy", "Mode", "Securities", "Model ID", "Account", "Strategy Parameters")
TRADING = ("paper", "practice", "live")
PAPER_ACCOUNT = "000-001-0000001-001"
# Parameters that are the session's, not the strategy's: options of `mbats live` and `backtest`.
OPTIONS = {"granularity": "M1", "size": "units:1000"}

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_INSTRUMENT = re.compile(r"[A-Z0-9]{3,6}_[A-Z0-9]{3,6}")
_ACCOUNT = re.compile(r"[0-9]{3}-[0-9]{3}-[0-9]{5,9}-[0-9]{3}")
_PARAMETER = re.compile(r"([a-z_][A-Za-z0-9_]{0,63})\s*=\s*([A-Za-z0-9_.:+/@%-]{1,200})")
_MODEL = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.:/@-]{0,199})?")


@dataclass(frozen=True)
class Row:
    """One row. ``leader`` is the DAG that starts its account's bot: its own or an earlier row's."""

    strategy: str
    mode: str
    instruments: tuple[str, ...]
    account: str = ""
    parameters: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    leader: str = ""

    @property
    def dag_id(self) -> str:
        """A name that stays when other rows come and go, or parameters change."""
        if self.mode in TRADING:
            return f"{self.mode}_{self.strategy}_{self.account}"
        digest = hashlib.sha256("+".join(sorted(self.instruments)).encode()).hexdigest()[:6]
        return f"{self.mode}_{self.strategy}_{digest}"


def read(path: Path, bots: Mapping[str, str]) -> tuple[list[Row], list[str]]:
    """Return the rows that may run, and what is wrong with the others, for people.

    ``bots`` maps an account to the job of its bot. A missing file is an empty schedule.
    """
    if not path.exists():
        return [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            table = list(csv.reader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        return [], [f"strategies.csv cannot be read: {error}"]
    header = [cell.strip() for cell in table[0]] if table else []
    if sorted(header) != sorted(COLUMNS):
        return [], [f"strategies.csv: the columns must be {', '.join(COLUMNS)}"]
    rows: dict[str, Row] = {}
    problems = []
    for number, cells in enumerate(table[1:], start=2):
        if not any(cell.strip() for cell in cells):
            continue
        try:
            row = _placed(_row(header, cells), rows, bots)
            rows[row.dag_id] = row
        except ValueError as reason:
            problems.append(f"strategies.csv, row {number}: {reason}")
    return list(rows.values()), problems


def _row(header: list[str], cells: list[str]) -> Row:
    if len(cells) > len(header):
        raise ValueError("more cells than columns; put one that holds commas in double quotes")
    cell = dict.fromkeys(COLUMNS, "") | {
        name: text.strip() for name, text in zip(header, cells, strict=False)
    }
    mode, account = cell["Mode"], cell["Account"]
    if mode not in ("backtest", *TRADING):
        raise ValueError(f"Mode must be backtest, {', '.join(TRADING)}")
    given = _parameters(cell["Strategy Parameters"])
    if not _MODEL.fullmatch(cell["Model ID"]):
        raise ValueError("Model ID must be a run id or models:/name@alias")
    if _INSTRUMENT.fullmatch(cell["Model ID"]):
        raise ValueError("Model ID is an instrument: put Securities in double quotes")
    if cell["Model ID"]:
        given["model_id"] = cell["Model ID"]
    options = {name: given.pop(name) for name in OPTIONS if name in given}
    return Row(
        _checked(_NAME, cell["Strategy"], "Strategy"),
        mode,
        _instruments(cell["Securities"]),
        _account(mode, account),
        given,
        options,
    )


def _checked(pattern: re.Pattern, text: str, column: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError(f"{column} cannot be {text[:40]!r}")
    return text


def _instruments(text: str) -> tuple[str, ...]:
    parts = [part for part in re.split(r"[,;\s]+", text) if part]
    names = [re.sub("[/.-]", "_", part.upper()) for part in parts]
    names = [f"{name[:3]}_{name[3:]}" if re.fullmatch("[A-Z]{6}", name) else name for name in names]
    if not names or len(set(names)) < len(names):
        raise ValueError("Securities must name instruments, each once")
    return tuple(_checked(_INSTRUMENT, name, "Securities") for name in names)


def _account(mode: str, text: str) -> str:
    if mode == "backtest":
        return ""
    account = text or (PAPER_ACCOUNT if mode == "paper" else "")
    _checked(_ACCOUNT, account, "Account")
    if account.startswith("000-") != (mode == "paper"):
        raise ValueError("paper accounts, and only they, begin with 000-")
    return account


def _parameters(text: str) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for part in [part.strip() for part in re.split(r"[,;]", text) if part.strip()]:
        found = _PARAMETER.fullmatch(part)
        if not found or found[1] in pairs:
            raise ValueError(f"Strategy Parameters: {part[:40]!r} is no name=value, or there twice")
        pairs[found[1]] = found[2]
    return pairs


def _placed(row: Row, rows: Mapping[str, Row], bots: Mapping[str, str]) -> Row:
    """Return the row with its leader. Raises ValueError where another row or no bot forbids it."""
    if row.dag_id in rows:
        raise ValueError("an earlier row says the same strategy and account (or instruments)")
    if row.mode == "backtest":
        return replace(row, leader=row.dag_id)
    if row.account not in bots:
        raise ValueError(
            f"account {row.account} has no bot; Terraform's `bots` names those there are"
        )
    beside = [other for other in rows.values() if other.account == row.account]
    for other in beside:
        if other.mode != row.mode:
            raise ValueError(f"account {row.account} is in mode {other.mode} in an earlier row")
        if other.options != row.options:
            raise ValueError("granularity and size must be the same in all rows of an account")
        if shared := sorted(set(row.instruments) & set(other.instruments)):
            raise ValueError(f"{shared[0]} is traded by {other.strategy} on this account already")
    return replace(row, leader=beside[0].leader if beside else row.dag_id)
