"""`mbats demo`: the whole desk once through, by the same commands a person would type."""

import contextlib
import io
import shlex
import time
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, people, table

app = typer.Typer()

SEED_SEVEN = "AUD_USD,USD_JPY,EUR_USD,GBP_USD,EUR_JPY,GBP_JPY,NZD_USD"
STEPS = (
    ("The tables of the security master and the risk store", "init"),
    (
        "Real FX history: the ECB's daily reference rates since 1999",
        f"data load --vendor ecb --instruments {SEED_SEVEN}",
    ),
    ("What is in the security master", "data list"),
    (
        "A reversal strategy over all of it, costs on",
        "backtest sma_reversal --sizer equity:10 --reuse --brief",
    ),
    (
        "A bracket strategy: entry, stop and target from each instrument's own range",
        "backtest rsi_stochastic --sizer risk:0.1 --reuse --brief",
    ),
    ("What the two left in the risk store", "runs list --limit 5"),
)
BACKTESTS = sum(command.startswith("backtest") for _, command in STEPS)


@app.command(epilog="Example: mbats demo --keep")
def demo(
    ctx: typer.Context,
    keep: Annotated[bool, typer.Option("--keep", help="leave the stack running")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show the whole desk: real history in, two strategies backtested, results to look at.

    No account, no key, no Docker. Stops what it started; the data stays for the next run.
    """
    began = time.monotonic()
    with _quiet(as_json), _stack(keep) as services:
        for title, command in STEPS:
            _step(ctx.find_root().command, title, command)
        fills = _bot()
    # The two that were written last, also where a stored run was shown again.
    reports = (context.settings().home / "reports").glob("*.html")
    sheets = sorted(reports, key=lambda sheet: sheet.stat().st_mtime)[-BACKTESTS:]
    if as_json:
        emit_json({"services": services, "tear_sheets": sheets, "fills": fills})
        return
    people.print()
    people.print(table("Addresses", ("service", "address"), services))
    people.print(
        "Still running: `make down` stops it." if keep else "Stopped: `make up` starts it."
    )
    people.print("\n[bold]Tear sheets: open them in a browser[/]")
    for sheet in sheets:
        people.print(f"  {sheet}", markup=False, soft_wrap=True)
    people.print(f"\nDone in {time.monotonic() - began:.0f} s. Next: docs/tutorial/.")


@contextlib.contextmanager
def _stack(keep: bool) -> Iterator[list[tuple[str, str]]]:
    """Start what does not run yet, give the addresses, stop what was started."""
    from mbats.cli.status import rows
    from mbats.local.stack import Stack

    _title("The local stack: BigQuery, Cloud Storage and Pub/Sub, as emulators", "up")
    stack = Stack(context.settings(), say=lambda line: people.print(line, markup=False))
    started = stack.up().started
    context.resolved.cache_clear()  # the addresses are settings too
    try:
        yield [(each.title, address) for each, address in rows(stack.status())]
    finally:
        if started and not keep:
            stack.down(started)


def _step(mbats: Any, title: str, command: str) -> None:
    """Run one command of the desk, in this process, as it would be typed."""
    _title(title, command)
    flags = [f"--{name}={value}" for name, value in context.flags().items()]
    began = time.monotonic()
    code = mbats.main([*flags, *shlex.split(command)], standalone_mode=False)
    people.print(f"({time.monotonic() - began:.1f} s)", style="dim")
    if code:
        raise typer.Exit(code)


def _bot() -> list[dict[str, Any]]:
    """Run a bot on a simulated OANDA for half a minute; show and return its fills."""
    from mbats.desk.paper_demo import run_demo

    people.print("\n[bold]A bot trades a simulated OANDA, from price stream to fill (30 s)[/]")
    shown = run_demo(context.settings().home / "demo")
    columns = ("time", "instrument", "side", "units", "price", "profit", "position")
    rows = [
        (
            f"{fill['time']:%H:%M:%S}",
            fill["instrument"],
            fill["side"],
            f"{fill['units']:,.0f}",
            f"{fill['price']:.5f}",
            f"{fill['realised_pnl']:,.4f}",
            f"{fill['position_units']:,.0f}",
        )
        for fill in shown.fills
    ]
    people.print(table("Its fills", columns, rows, right=columns[3:]))
    people.print(f"{shown.ticks:,} prices; net asset value {shown.net_asset_value:,.2f}")
    return shown.fills


def _title(title: str, command: str) -> None:
    people.print(f"\n[bold]{title}[/]\n[dim]$ mbats {command}[/]")


@contextlib.contextmanager
def _quiet(asked: bool) -> Iterator[None]:
    """Keep standard output for the one JSON document."""
    with contextlib.redirect_stdout(io.StringIO()) if asked else contextlib.nullcontext():
        yield
