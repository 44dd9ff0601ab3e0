"""`mbats parity`: a live session against a backtest of the same ticks."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people, table
from mbats.errors import DataError

if TYPE_CHECKING:
    from mbats.live.differences import Difference, Parts, Report

app = typer.Typer()

CODE = "PARITY"


@app.command(epilog="Example: mbats parity 20260102T030405-1a2b3c4d --sizer units:1000")
def parity(
    run: Annotated[str, typer.Argument(help="id of a live session, or the beginning of one")],
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

    The reasons: spread, slippage, latency, missed tick, sizing, denied. Costs are in account
    currency, above zero where live was worse. Exits with 3 where a difference has no reason.
    """
    from mbats.desk import Desk
    from mbats.live.parity import compare
    from mbats.live.recorded import Choice, load_session
    from mbats.market.instrument import parse_name

    names = [parse_name(part) for part in (instruments or "").split(",") if part.strip()]
    choice = Choice(strategy, file, names, sizer, vendor, slippage_pips)
    now = datetime.now(UTC)
    with Desk(context.settings()) as desk:
        session = load_session(run, desk.risk_store, desk.security_master, choice, now)
        report = compare(session, Decimal(str(tolerance_pips)))
        if record:
            desk.risk_store.note(_event(report, session.run, now))
    if as_json:
        emit_json(document(report))
    else:
        _print(report, str(session.run["account_currency"]), every)
    if not report.parity:
        raise typer.Exit(DataError.exit_code)


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


def _event(report: "Report", run: Any, now: datetime) -> dict[str, Any]:
    return {
        "event_id": f"{report.run_id}-{CODE}-{run['ended_at'].timestamp():.6f}",
        "run_id": report.run_id,
        "time": now,
        "code": CODE,
        "severity": "info" if report.parity else "warning",
        "detail": _verdict(report),
        "account": run["account"],
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
