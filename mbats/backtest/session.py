"""A backtest from request to stored result. The command, a job and a DAG all call this."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from mbats.backtest.broker import Progress
from mbats.backtest.engine import BacktestSpec, Identity, run_backtest, run_row
from mbats.backtest.inputs import Inputs, MarketData, load_inputs
from mbats.backtest.provenance import DIRTY, git_sha, image_digest
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
    reuse: bool = False,
) -> tuple[RunResult, Inputs]:
    """Load, run and store a backtest; return its result and what it ran on.

    ``report_address`` gives the address its tear sheet will have, by run id. With ``reuse`` a
    stored run that would come out the same is returned instead of running it again. Raises
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
    same = _same_run(store, run) if reuse else None
    if same is not None:
        return store.load(same), inputs
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


# What makes two runs come out the same: code, strategy, parameters, data, money and costs.
_IDENTITY = (
    "git_sha",
    "kind",
    "strategy",
    "parameters",
    "data_snapshot",
    "account_currency",
    "starting_cash",
    "assumptions",
)
_SEARCHED_RUNS = 200


def _same_run(store: RunStore, run: Mapping[str, Any]) -> str | None:
    """Return the newest stored run that is the same as ``run``; None on code not committed."""
    if not run["git_sha"] or run["git_sha"].endswith(DIRTY):
        return None
    for stored in store.runs(limit=_SEARCHED_RUNS):
        alike = all(_plain(stored[name]) == _plain(run[name]) for name in _IDENTITY)
        if stored["status"] == "done" and alike:
            return str(stored["run_id"])
    return None


def _plain(value: Any) -> Any:
    """Return ``value`` as it comes back from the store: tuples are lists, 10.00 is 10."""
    return json.loads(json.dumps(value, default=lambda number: str(Decimal(number).normalize())))


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
