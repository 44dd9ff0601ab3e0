"""Command lines of `mbats`, from rows and forms. What runs them is a Cloud Run job."""

from collections.abc import Mapping, Sequence
from datetime import date

from desk.schedule_file import OPTIONS, Row
from desk.session import close_of


def live_command(rows: Sequence[Row], friday: date) -> list[str]:
    """Return `mbats live …` for the rows of one account, until Friday's close. Never `--arm`."""
    first = rows[0]
    options = OPTIONS | first.options
    return [
        "live",
        *(row.strategy for row in rows),
        *(part for row in rows for part in ("--instruments", ",".join(row.instruments))),
        f"--{first.mode}",
        "--account", first.account,
        "--granularity", options["granularity"],
        "--size", options["size"],
        *(part for row in rows for part in _parameters(row.parameters, row.strategy)),
        "--until", close_of(friday).isoformat(),
    ]  # fmt: skip


def backtest_command(row: Row) -> list[str]:
    """Return `mbats backtest …` for a row: a run that would come out the same is not repeated."""
    return [
        "backtest", row.strategy,
        "--instruments", ",".join(row.instruments),
        "--granularity", row.options.get("granularity", "D"),
        "--sizer", row.options.get("size", OPTIONS["size"]),
        *_parameters(row.parameters, row.strategy),
        "--reuse", "--brief",
    ]  # fmt: skip


def form_command(command: str, form: Mapping, names: Mapping[str, str]) -> list[str]:
    """Return ``command`` with an option for every field that was filled.

    ``names`` maps a field to its option. A list becomes one option each, True a bare flag.
    """
    made = [command, form["strategy"]]
    for name, option in names.items():
        value = form[name]
        if value is True:
            made.append(option)
        elif value not in (None, "", False):
            made += [p for one in _each(value) for p in (option, str(one))]
    return made


def _each(value) -> list:
    return value if isinstance(value, list) else [value]


def _parameters(parameters: Mapping[str, str], strategy: str) -> list[str]:
    pairs = [f"{strategy}.{name}={value}" for name, value in parameters.items()]
    return [part for pair in pairs for part in ("--param", pair)]
