"""`mbats sim`: an OANDA v20 broker on this machine, to trade against without an account."""

import json
import signal
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, people
from mbats.errors import ConfigError, NotReadyError

if TYPE_CHECKING:
    from mbats.local.oanda_sim import Replay, Running, SimConfig

app = typer.Typer()

_POINTING = """
import oandapyV20, oandapyV20.oandapyV20 as core
core.TRADING_ENVIRONMENTS["sim"] = {{"api": "{url}", "stream": "{url}"}}
api = oandapyV20.API(access_token="any", environment="sim", request_params={{"timeout": (3, 10)}})
"""


@app.command(epilog="Example: mbats sim --seed 7 --speed 60 --faults 0.05")
def sim(
    port: Annotated[int, typer.Option(help="port; 0 takes a free one")] = 0,
    seed: Annotated[int, typer.Option(help="seed of prices and faults")] = 1,
    instruments: Annotated[
        str, typer.Option(help="instruments, with commas; default: twelve major pairs")
    ] = "",
    prices: Annotated[
        Path | None, typer.Option(help="CSV or Parquet of time, instrument, bid, ask to replay")
    ] = None,
    history: Annotated[
        str, typer.Option(help="VENDOR:GRANULARITY of stored bars to replay, as ecb:D")
    ] = "",
    start: Annotated[
        str, typer.Option(help="first instant, ISO 8601; default: now, or the replay's first")
    ] = "",
    speed: Annotated[float, typer.Option(help="engine seconds a second; 0: stepped by /sim")] = 1.0,
    faults: Annotated[float, typer.Option(help="share of requests that fail, 0 to 1")] = 0.0,
    fault_seed: Annotated[
        int | None, typer.Option(help="seed of the faults; default: --seed")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="file that survives a crash")] = None,
    account: Annotated[str, typer.Option(help="account id; default: OANDA's form")] = "",
    currency: Annotated[str, typer.Option(help="account currency")] = "USD",
    balance: Annotated[str, typer.Option(help="opening balance")] = "100000",
    hedging: Annotated[bool, typer.Option("--hedging", help="a hedging account")] = False,
    fifo: Annotated[bool, typer.Option("--fifo", help="the rules of US accounts")] = False,
    first_id: Annotated[int, typer.Option(help="first transaction id (995 soon rolls 999)")] = 1,
    as_json: JsonFlag = False,
) -> None:
    """Run a simulated OANDA broker until Ctrl-C.

    It speaks OANDA's v20 REST API and both streams on one port, on this machine only. Equal seeds
    and equal requests give equal faults; with --speed 0 the whole log is equal, byte for byte.
    """
    from mbats.local.oanda_sim import serve

    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: stop.set())
    config = _config(
        seed, instruments, start, speed, faults, seed if fault_seed is None else fault_seed, state,
        account, currency, balance, hedging, fifo, first_id,
    )  # fmt: skip
    if prices is not None and history:
        raise ConfigError("--prices and --history are two sources.", mend="give one of them")
    config, source = _with_prices(config, prices, history)
    try:
        with serve(config, source=source, port=port) as running:
            _say_ready(running, config, as_json)
            stop.wait()
    except OSError as error:
        raise NotReadyError(
            f"The simulator cannot listen on port {port}: {error.strerror or error}.",
            mend="leave --port out to take a free one",
        ) from error


def _config(
    seed: int, instruments: str, start: str, speed: float, faults: float, fault_seed: int,
    state: Path | None, name: str, currency: str, balance: str, hedging: bool, fifo: bool,
    first_id: int,
) -> "SimConfig":  # fmt: skip
    from mbats.local.oanda_sim import AccountSpec, FaultPlan, SimConfig, spec_of, storm
    from mbats.local.oanda_sim.config import DEFAULT_INSTRUMENTS, with_conversions

    if not 0 <= faults <= 1 or speed < 0:
        raise ConfigError("--faults is a share from 0 to 1, and --speed is not negative.")
    names = [name for name in instruments.split(",") if name] or list(DEFAULT_INSTRUMENTS)
    account = AccountSpec(
        currency=currency, balance=_decimal(balance), hedging=hedging, fifo=fifo,
        first_transaction_id=first_id, id=name or AccountSpec().id,
    )  # fmt: skip
    return SimConfig(
        seed=seed,
        start=_instant(start) if start else None,
        speed=speed,
        accounts=(account,),
        specs=tuple(spec_of(name) for name in with_conversions(names, currency)),
        faults=storm(fault_seed, faults) if faults else FaultPlan(),
        state_file=state,
    )


def _with_prices(
    config: "SimConfig", prices: Path | None, history: str
) -> "tuple[SimConfig, Replay | None]":
    """Return the config and the source of its prices; a replay starts the clock at its first.

    With a start of its own, what a replay holds before it becomes the candles' past.
    """
    from mbats.local.oanda_sim import Replay, quotes_of_file

    if history:
        return _with_history(config, history)
    if prices is None:
        return config, None
    quotes = quotes_of_file(prices, {spec.name: spec for spec in config.specs})
    if not quotes:
        raise ConfigError(f"{prices} holds no prices.", mend="name a file with rows")
    return _starting(config, quotes[0].time_ns), Replay(quotes)


def _with_history(config: "SimConfig", history: str) -> "tuple[SimConfig, Replay]":
    from mbats.desk import Desk
    from mbats.local.oanda_sim import Replay, quotes_of_bars
    from mbats.local.oanda_sim.sources import merged
    from mbats.market.bars import bars_from_table

    vendor, _, granularity = history.partition(":")
    if not granularity:
        raise ConfigError(f"--history {history!r} is not VENDOR:GRANULARITY.", mend="as ecb:D")
    streams, firsts = [], []
    with Desk(context.settings()) as desk:
        for spec in config.specs:
            table = desk.security_master.bars(spec.name, granularity, vendor)
            if not table.num_rows:
                raise ConfigError(
                    f"The security master has no {granularity} bars of {spec.name} from {vendor}.",
                    tried=[f"instruments: {', '.join(s.name for s in config.specs)}"],
                    mend="load them with `mbats data load`, or name fewer --instruments",
                )
            bars = bars_from_table(table, granularity)
            firsts.append(int(bars.start[0].astype("datetime64[us]").astype("int64")) * 1000)
            streams.append(quotes_of_bars(bars, spec))
    return _starting(config, max(firsts)), Replay(merged(streams))


def _starting(config: "SimConfig", first_ns: int) -> "SimConfig":
    if config.start is not None:
        return config
    return replace(config, start=datetime.fromtimestamp(first_ns // 10**9, UTC))


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--start {text!r} is no time.", mend="write it as 2026-09-23T14:00:00"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _decimal(text: str) -> Decimal:
    try:
        amount = Decimal(text)
    except ArithmeticError:
        raise ConfigError(f"--balance {text!r} is no amount.") from None
    if not amount.is_finite() or amount <= 0:
        raise ConfigError("--balance is an amount above zero.")
    return amount


def _say_ready(running: "Running", config: "SimConfig", as_json: bool) -> None:
    from mbats.local.oanda_sim.calendar import market_open, next_quoting
    from mbats.local.oanda_sim.times import rfc3339

    if as_json:
        document = {
            "url": running.url,
            "account": running.account_id,
            "seed": config.seed,
            "fault_seed": config.faults.seed,
        }
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()
        return
    people.print(f"OANDA simulator  [bold]{running.url}[/]  account [bold]{running.account_id}[/]")
    seeds = f"seed {config.seed}, fault seed {config.faults.seed}"
    now_ns = running.call(lambda engine: engine.now_ns)
    if not market_open(now_ns):
        opens = rfc3339(next_quoting(now_ns, daily_break=True))[:16]
        people.print(f"The FX week is closed until {opens} UTC: --start on a weekday has prices.")
    people.print(f"Prices and faults replay from {seeds}.")
    people.print(f"Its own controls are under {running.url}/sim")
    people.print(_POINTING.format(url=running.url), markup=False, soft_wrap=True)
    people.print("Ctrl-C stops it.")
