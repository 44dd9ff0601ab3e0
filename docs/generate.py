"""Writes docs/reference/*.md from the code, so that they cannot drift: `make docs`.

`tests/test_docs.py` fails when a page is not what this program writes.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

from mbats import errors, schemas
from mbats.cli.main import app
from mbats.config import ENV_PREFIX, SECRETS, Settings
from mbats.live.proof import FINDINGS
from mbats.live.refusals import REASONS
from mbats.local.oanda_sim.behaviour import Behaviour
from mbats.local.oanda_sim.faults import MEANINGS, STREAM_FAULTS
from mbats.local.oanda_sim.routes import ROUTES
from mbats.market.checks import CHECKS
from mbats.trading.risk.rules import RULES

REFERENCE = Path(__file__).parent / "reference"
NOTICE = "<!-- Written by docs/generate.py: change the code, then run `make docs`. -->"


def markdown(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def settings() -> str:
    """Return the page of settings."""
    rows = [
        (
            f"`{name}`",
            f"`{ENV_PREFIX}{name.upper()}`",
            "" if name in SECRETS or field.default is None else f"`{field.default}`",
            field.description,
        )
        for name, field in Settings.model_fields.items()
    ]
    return "\n\n".join(
        [
            "# Settings",
            "Strongest first: command-line flag, environment variable, the file `mbats.toml`, the "
            "running local stack, default. `mbats config show` says which one won.",
            markdown(("setting", "environment variable", "default", "what it is"), rows),
        ]
    )


def tables() -> str:
    """Return the page of tables."""
    parts = [
        "# Tables",
        "From the files in `terraform/modules/warehouse/schemas/`, which Terraform, `mbats init` "
        "and the tests read.",
    ]
    for (dataset, name), table in schemas.all_tables().items():
        parts += [f"## {dataset}.{name}", table.description, _layout(table)]
        rows = [(f"`{f['name']}`", f["type"], f["mode"], f["description"]) for f in table.fields]
        parts.append(markdown(("column", "type", "mode", "what it is"), rows))
    return "\n\n".join(parts)


def _layout(table: schemas.TableSchema) -> str:
    said = ["Natural key: " + ", ".join(f"`{key}`" for key in table.primary_key)]
    if table.time_partitioning:
        partitioning = table.time_partitioning
        said.append(f"partitioned by {partitioning['type'].lower()} of `{partitioning['field']}`")
    if table.clustering:
        said.append("clustered by " + ", ".join(f"`{name}`" for name in table.clustering))
    return "; ".join(said) + "."


def risk_rules() -> str:
    """Return the page of pre-trade rules."""
    rows = [(f"`{r.code}`", r.description, "yes" if r.always else "no") for r in RULES]
    return "\n\n".join(
        [
            "# Pre-trade rules",
            "Asked in this order before every order; the first that denies names the reason in "
            "`risk.risk_event`. Orders that can only bring a position nearer to flat are asked "
            "only where the last column says so.",
            markdown(("code", "denies when", "asked of reducing orders"), rows),
        ]
    )


def refusals() -> str:
    """Return the page of what the live broker refuses before any rule is asked."""
    rows = [(f"`{r.code}`", r.description) for r in REASONS]
    return "\n\n".join(
        [
            "# Refusals of the live broker",
            "What cannot be sent exactly is not sent: the order is rejected for the strategy, and "
            "`risk.risk_event` says why, before any [pre-trade rule](risk-rules.md) is asked.",
            markdown(("code", "refused because"), rows),
        ]
    )


def findings() -> str:
    """Return the page of what `mbats reconcile` can find."""
    rows = [(f"`{name}`", description) for name, description in FINDINGS.items()]
    return "\n\n".join(
        [
            "# Findings of `mbats reconcile`",
            "Each is logged with `event=reconciliation_mismatch`, is a row of `risk.risk_event` "
            "and ends the command with exit code 7. `--repair` publishes the rows of `lost_fill` "
            "and `missing_event` again, under the same event id; the rest needs a person.",
            markdown(("finding", "what it means"), rows),
        ]
    )


def quality_checks() -> str:
    """Return the page of data-quality checks."""
    rows = [(f"`{c.name}`", c.severity, c.description) for c in CHECKS]
    return "\n\n".join(
        [
            "# Data-quality checks",
            "Run over every loaded series by `mbats data load` and `mbats data check`; findings go "
            "to `security_master.data_quality`.",
            markdown(("check", "severity", "finds"), rows),
        ]
    )


def exit_codes() -> str:
    """Return the page of exit codes."""
    found = [errors.MbatsError, *errors.MbatsError.__subclasses__()]
    rows = [
        (e.exit_code, f"`{e.__name__}`", e.__doc__.strip().splitlines()[0])
        for e in sorted(found, key=lambda e: e.exit_code)
        if e.__module__ == errors.__name__
    ]
    return "\n\n".join(
        [
            "# Exit codes",
            "0 is success, 130 an interrupt from the keyboard. Every other says what happened; the "
            "error itself names the cause, what was tried, and the mend.",
            markdown(("code", "error", "what it means"), rows),
        ]
    )


def simulator() -> str:
    """Return the page of the OANDA simulator: resources, faults, switches."""
    resources = [(r.method, f"`{r.path}`", r.summary) for r in ROUTES]
    faults = [
        (f"`{fault.value}`", "stream line" if fault in STREAM_FAULTS else "request", meaning)
        for fault, meaning in MEANINGS.items()
    ]
    return "\n\n".join(
        [
            "# The OANDA simulator",
            "`mbats sim` answers these resources of OANDA's v20 REST API, and both streams, on one "
            "port. Paths are under `/v3/accounts/{accountID}` where they start with `…`.",
            markdown(("method", "path", "what it is"), resources),
            "## Faults",
            markdown(("fault", "happens to", "what happens"), faults),
            "## Behaviour",
            inspect.cleandoc(Behaviour.__doc__ or "").replace("``", "`"),
        ]
    )


def cli() -> str:
    """Return the page of commands."""
    parts = ["# The `mbats` command", "Every command takes `--json` and `--help`."]
    for path, command in _leaves(typer.main.get_command(app), ()):
        rows = [
            (
                f"`{' '.join(p.opts) if p.param_type_name == 'option' else p.name.upper()}`",
                getattr(p, "help", None) or "",
            )
            for p in command.params
            if p.name != "help"
        ]
        parts += [f"## mbats {' '.join(path)}", command.help, command.epilog]
        parts.append(markdown(("option", "what it does"), rows))
    return "\n\n".join(parts)


def _leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _leaves(child, (*path, name))


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli,
    "exit-codes.md": exit_codes,
    "settings.md": settings,
    "tables.md": tables,
    "risk-rules.md": risk_rules,
    "refusals.md": refusals,
    "reconciliation.md": findings,
    "quality-checks.md": quality_checks,
    "simulator.md": simulator,
}


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    return {name: f"{NOTICE}\n\n{write()}\n" for name, write in PAGES.items()}


if __name__ == "__main__":
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for file, text in pages().items():
        (REFERENCE / file).write_text(text)
