"""A backtest from request to stored result. The command, a job and a DAG all call this."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mbats.backtest.broker import Progress
from mbats.backtest.engine import BacktestSpec, Identity, run_backtest, run_row
from mbats.backtest.inputs import Inputs, MarketData, load_inputs
from mbats.backtest.provenance import git_sha, image_digest
from mbats.backtest.result import RunResult, RunStore
from mbats.errors import MbatsError, RunFailedError


@dataclass(frozen=True)
class BacktestRequest:
    """What to run over which data. Times are aware UTC and bound the starts of the bars."""

    spec: BacktestSpec
    instruments: Sequence[str]
    granularities: Sequence[str] = ("D",)
    vendor: str = "ecb"
    start: datetime | None = None
    end: datetime | None = None


def new_run_id(now: datetime, token: Callable[[], str] = lambda: secrets.token_hex(4)) -> str:
    """Return a run id that sorts by time, such as 20260102T030405-1a2b3c4d."""
    return f"{now:%Y%m%dT%H%M%S}-{token()}"


def backtest(
    request: BacktestRequest,
    market: MarketData,
    store: RunStore,
    *,
    now: Callable[[], datetime],
    run_id: str | None = None,
    report_address: Callable[[str], str] | None = None,
    progress: Progress | None = None,
) -> tuple[RunResult, Inputs]:
    """Load, run and store a backtest; return its result and what it ran on.

    ``report_address`` gives the address its tear sheet will have, by run id. Raises
    :class:`DataError` where the data is not there (nothing is recorded then), and
    :class:`RunFailedError` where the run breaks off: it is marked failed and holds no results.
    """
    inputs = load_inputs(
        market,
        request.instruments,
        request.granularities,
        request.vendor,
        request.spec.account_currency,
        request.start,
        request.end,
    )
    started = now()
    identity = Identity(run_id or new_run_id(started), started, git_sha(), image_digest())
    run = run_row(request.spec, inputs.bars, inputs.instruments, inputs.conversion, identity)
    if report_address is not None:
        run["report"] = report_address(identity.run_id)
    store.start(run)
    try:
        result = run_backtest(
            request.spec,
            inputs.bars,
            inputs.instruments,
            inputs.conversion,
            run,
            now=now,
            progress=progress,
        )
        store.finish(result)
    except BaseException as error:
        raise _failed(store, identity.run_id, error) from error
    return result, inputs


def _failed(store: RunStore, run_id: str, error: BaseException) -> RunFailedError:
    """Mark the run failed and return what to raise; a store that cannot is part of the story."""
    if isinstance(error, KeyboardInterrupt):
        cause = "interrupted from the keyboard"
    elif isinstance(error, MbatsError):
        cause = error.cause
    else:
        cause = f"{type(error).__name__}: {error}"
    tried = list(error.tried) if isinstance(error, MbatsError) else []
    mend = error.mend if isinstance(error, MbatsError) else "correct the strategy and run it again"
    try:
        store.fail(run_id, cause)
    except MbatsError as second:
        tried.append(f"marking it failed: {second.cause}")
    return RunFailedError(f"Run {run_id} broke off: {cause}", tried=tried, mend=mend)
