"""`mbats parity`: a live session against a backtest of the same ticks."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, table
from mbats.cli.reconcile import day_of
from mbats.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mbats.desk import Desk
    from mbats.live.parity.differences import Difference, Parts, Report
    from mbats.live.parity.recorded import Choice
    from mbats.live.parity.replay import Session

app = typer.Typer()

CODE = "PARITY"


@app.command(epilog="Example: mbats parity 20260102T030405-1a2b3c4d --sizer units:1000")
def parity(
    run: Annotated[
        str | None, typer.Argument(help="id of a live session, or the beginning of one")
    ] = None,
    ended_on: Annotated[
        str | None,
        typer.Option(
            "--ended-on",
            "--session-date",
            help="instead: every session that ended on this trading day, 2026-11-23",
        ),
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="which, where it traded several")] = None,
    file: Annotated[str | None, typer.Option(help="the strategy's file, if not by name")] = None,
    instruments: Annotated[str | None, typer.Option(help="only these: EUR_USD,USD_JPY")] = None,
    sizer: Annotated[str | None, typer.Option(help="as the session had; its run says")] = None,
    vendor: Annotated[str | None, typer.Option(help="whose ticks; its run says")] = None,
    slippage_pips: Annotated[
        float, typer.Option(min=0, help="what the replay assumes on market and stop fills")
    ] = 0.0,
    tolerance_pips: Annotated[
        float, typer.Option(min=0, help="how far from the recorded quote a fill may be")
    ] = 1.0,
    every: Annotated[bool, typer.Option("--every", help="show equal trades, too")] = False,
    record: Annotated[
        bool, typer.Option("--record", help="keep the verdict as a risk event")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Replay a session's recorded ticks through a backtest; show every difference and why.

    The reasons: spread, slippage, latency, missed tick, late bar, sizing, denied, session ended,
    told to another run (the bot was killed between an order and its fill).
    Costs are in account currency, above zero where live was worse. Exits with 3 where a difference
    has no reason.
    """
    from mbats.desk import Desk
    from mbats.live.parity.recorded import Choice
    from mbats.market.instrument import parse_name

    if (run is None) == (ended_on is None):
        raise ConfigError("Which session?", mend="give a run id, or --ended-on 2026-11-23")
    names = [parse_name(part) for part in (instruments or "").split(",") if part.strip()]
    choice = Choice(strategy, file, names, sizer, vendor, slippage_pips)
    now = datetime.now(UTC)
    with Desk(context.settings()) as desk:
        comparison = _Comparison(desk, Decimal(str(tolerance_pips)), now, record)
        if run is not None:
            compared = [comparison.of(run, choice)]
        else:
            compared = comparison.of_day(ended_on or "", choice)
    if as_json:
        documents = [document(report) for report, _ in compared]
        emit_json(documents[0] if run is not None else {"sessions": documents})
    else:
        for report, currency in compared:
            _print(report, currency, every)
    if comparison.problems or not all(report.parity for report, _ in compared):
        raise typer.Exit(DataError.exit_code)


class _Comparison:
    """Compares sessions; ``problems`` are those of a day that could not be compared."""

    def __init__(self, desk: "Desk", tolerance: Decimal, now: datetime, record: bool) -> None:
        self._desk = desk
        self._tolerance = tolerance
        self._now = now
        self._record = record
        self.problems: list[str] = []

    def of(self, run: str, choice: "Choice") -> tuple["Report", str]:
        """Return one session's report and its currency."""
        from mbats.live.parity.compare import compare
        from mbats.live.parity.recorded import load_session

        desk = self._desk
        session = load_session(run, desk.risk_store, desk.security_master, choice, self._now)
        report = compare(session, self._tolerance)
        if self._record:
            desk.risk_store.note(_event(report, session, self._now))
        return report, str(session.run["account_currency"])

    def of_day(self, text: str, choice: "Choice") -> list[tuple["Report", str]]:
        """Return the report of each strategy of each session that ended on a trading day."""
        from mbats.desk.reconcile import sessions_on

        found = []
        runs = sessions_on(self._desk, day_of(text), self._now, ended=True)
        if not runs:
            people.print(f"No session ended on {text}: nothing to compare.")
        for run in runs:
            for strategy in str(run["strategy"]).split("+"):
                try:
                    found.append(self.of(str(run["run_id"]), replace(choice, strategy=strategy)))
                except DataError as error:
                    errors.print(f"{run['run_id']} {strategy}: {error}", markup=False)
                    self.problems.append(str(run["run_id"]))
        return found


def document(report: "Report") -> dict[str, Any]:
    """Return the report in plain values."""
    return {
        "run_id": report.run_id,
        "parity": report.parity,
        "trades": len(report.differences),
        "unexplained": len(report.unexplained),
        "reasons": _reasons(report),
        "totals": {name: _parts(parts) for name, parts in report.totals().items()},
        "bars_missed": [{"instrument": name, "end": end} for name, end in report.bars_missed],
        "differences": [{**vars(d), "parts": _parts(d.parts)} for d in report.differences],
    }


def _event(report: "Report", session: "Session", now: datetime) -> dict[str, Any]:
    run, strategy = session.run, session.loaded.name
    return {
        "event_id": f"{report.run_id}-{CODE}-{strategy}-{run['ended_at'].timestamp():.6f}",
        "run_id": report.run_id,
        "time": now,
        "code": CODE,
        "severity": "info" if report.parity else "warning",
        "detail": _verdict(report),
        "account": run["account"],
        "strategy": strategy,
        "figures": {
            "trades": len(report.differences),
            "reasons": _reasons(report),
            "cost": str(report.totals()["ALL"].total),
        },
        "actor": "parity",
    }


def _reasons(report: "Report") -> dict[str, int]:
    found: dict[str, int] = {}
    for each in report.differences:
        found[str(each.reason)] = found.get(str(each.reason), 0) + 1
    return found


def _parts(parts: "Parts") -> dict[str, Decimal]:
    return {**vars(parts), "total": parts.total}


def _verdict(report: "Report") -> str:
    orders, bad = len(report.differences), len(report.unexplained)
    if bad:
        return f"No parity: {bad} of {orders} orders differ and nobody can say why."
    return f"Parity: {orders} orders, every difference has its reason."


def _print(report: "Report", currency: str, every: bool) -> None:
    shown = [d for d in report.differences if every or d.reason != "same"]
    if shown:
        people.print(
            table(
                f"Live against replay, {report.run_id}",
                ["Time", "Order", "Live", "Replay", "Cost", "Why"],
                [_line(each) for each in shown],
                right=["Live", "Replay", "Cost"],
            )
        )
    columns = ["spread", "slippage", "latency", "unquoted", "total"]
    people.print(
        table(
            f"Cost against the replay, {currency}",
            ["Instrument", *columns],
            [
                [name, *(f"{_parts(parts)[column]:.4f}" for column in columns)]
                for name, parts in report.totals().items()
            ],
            right=columns,
        )
    )
    for name, end in report.bars_missed:
        errors.print(f"{name}: the bar that ended {end:%Y-%m-%d %H:%M:%S} was another one live")
    people.print(_verdict(report), markup=False)


def _line(each: "Difference") -> list[str]:
    return [
        f"{each.time:%m-%d %H:%M:%S}",
        f"{each.instrument} {each.role} {each.side}",
        _side(each.live_units, each.live_price),
        _side(each.replay_units, each.replay_price),
        f"{each.parts.total:.4f}",
        f"{each.reason}: {each.detail}" if each.detail else str(each.reason),
    ]


def _side(units: Decimal | None, price: Decimal | None) -> str:
    if units is None or price is None:
        return "-"
    return f"{units.normalize():f} @ {price.quantize(Decimal('0.000001')).normalize():f}"
