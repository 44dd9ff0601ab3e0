"""`mbats live`: run strategies on an account until the trading week ends."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mbats.cli import context
from mbats.cli.output import JsonFlag, emit_json, errors, people
from mbats.errors import ConfigError

if TYPE_CHECKING:
    from mbats.live.session import Assignment


app = typer.Typer()


@app.command(
    epilog="Example: mbats live sma_reversal --instruments EUR_USD --granularity M1 --paper"
)
def live(
    strategies: Annotated[list[str], typer.Argument(help="names or files of strategies")],
    instruments: Annotated[
        list[str],
        typer.Option("--instruments", help="instruments, with commas; once for each strategy"),
    ],
    granularity: Annotated[str, typer.Option(help="bars: S5 to M")] = "M1",
    paper: Annotated[bool, typer.Option("--paper", help="simulated fills (default)")] = False,
    practice: Annotated[bool, typer.Option("--practice", help="OANDA practice, or `sim`")] = False,
    live_money: Annotated[bool, typer.Option("--live", help="real money; needs --arm")] = False,
    arm: Annotated[
        bool, typer.Option("--arm", envvar="BOT_ARM", help="say again that money is meant")
    ] = False,
    account: Annotated[
        str | None, typer.Option(help="account; default: oanda_account, or a paper one")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", help="name=value, or strategy.name=value; repeat for more"),
    ] = None,
    limit: Annotated[
        list[str] | None, typer.Option("--limit", help="name=value of a risk limit, or name=off")
    ] = None,
    size: Annotated[str, typer.Option(help="sizer, as in `mbats backtest`")] = "units:1000",
    until: Annotated[
        str, typer.Option(help="end, ISO 8601 UTC; default: Friday 17:00 New York")
    ] = "",
    as_json: JsonFlag = False,
) -> None:
    """Trade strategies live, on paper, practice or real money, for one trading week.

    Start-up is recovery: nothing is traded before the account reconciles. SIGTERM and Ctrl-C stop
    it cleanly; brackets stay at the broker. Logs are JSON lines on standard error.
    """
    from mbats.desk.bot import Session, run_session
    from mbats.live.limits import parse_limits
    from mbats.live.logs import log_as_json
    from mbats.live.mode import Mode, week_end
    from mbats.local.paper import FIRST_ACCOUNT

    chosen = [
        m
        for m, said in ((Mode.PAPER, paper), (Mode.PRACTICE, practice), (Mode.LIVE, live_money))
        if said
    ]
    if len(chosen) > 1:
        raise ConfigError(
            "One of --paper, --practice and --live.", tried=[f"--{m}" for m in chosen]
        )
    mode = chosen[0] if chosen else Mode.PAPER
    settings = context.settings()
    meant = account or (FIRST_ACCOUNT if mode is Mode.PAPER else settings.oanda_account)
    if not meant:
        raise ConfigError(f"--{mode} needs an account.", mend="give --account")
    asked = Session(
        mode, meant, _assignments(strategies, instruments, granularity, param or [], size),
        parse_limits(limit or []), _instant(until) if until else week_end(datetime.now(UTC)), arm,
    )  # fmt: skip
    tokens = (settings.oanda_token, settings.oanda_kill_token)
    log_as_json(
        {"account": meant, "mode": mode.upper()}, [t.get_secret_value() for t in tokens if t]
    )
    run_id = run_session(settings, asked, lambda line: errors.print(line, markup=False))
    if as_json:
        emit_json({"run_id": run_id, "account": meant, "mode": mode})
    else:
        people.print(f"Session [bold]{run_id}[/] ended. mbats runs show {run_id}")


def _assignments(
    strategies: list[str], instruments: list[str], granularity: str, given: list[str], size: str
) -> "list[Assignment]":
    from mbats.live.session import Assignment
    from mbats.market.granularity import Granularity
    from mbats.market.instrument import parse_name
    from mbats.strategy.loading import load_strategy, parse_assignments

    if len(instruments) != len(strategies):
        raise ConfigError(
            f"{len(strategies)} strategies, but {len(instruments)} lists of instruments.",
            mend="give --instruments once for each strategy, in their order",
        )
    wanted = parse_assignments(given)
    made, taken = [], set()
    for reference, names in zip(strategies, instruments, strict=True):
        bare = load_strategy(reference)
        keys = {key: n for n in bare.parameters for key in (n, f"{bare.name}.{n}") if key in wanted}
        taken |= set(keys)
        own = sorted(keys, key=lambda key: "." in key)  # what is said of one strategy comes last
        loaded = load_strategy(reference, {keys[key]: wanted[key] for key in own})
        pairs = [parse_name(name) for name in names.split(",") if name.strip()]
        made.append(Assignment(loaded.name, loaded, pairs, Granularity.parse(granularity), size))
    if left := sorted(set(wanted) - taken):
        raise ConfigError(f"No strategy has a parameter {left[0]!r}.", mend="leave it out")
    return made


def _instant(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(
            f"--until {text!r} is no time.", mend="write it as 2026-09-25T20:00:00"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
