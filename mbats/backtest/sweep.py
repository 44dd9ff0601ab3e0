"""A sweep: one question asked of many parameter sets, each answer a run of its own.

The run id of a member follows from what it is: the sweep, its strategy, parameters, data, money,
costs and code. So a task that is retried, or two that do the same work, add nothing, and what is
stored is not played again. Members are written in batches, each run whole or not at all; one that
fails is recorded as failed, and the others go on. What many tasks write,
:mod:`mbats.backtest.gathering` brings together.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Any, Literal, Protocol, TypeVar

from mbats.backtest.engine import BacktestSpec, Identity, parameters_of, run_row
from mbats.backtest.executor import Executor, Member
from mbats.backtest.grid import ParameterSet
from mbats.backtest.inputs import Inputs, MarketData, load_inputs
from mbats.backtest.provenance import code_hash, git_sha, image_digest
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.backtest.session import BacktestRequest
from mbats.errors import ConfigError, RunFailedError
from mbats.strategy.loading import with_parameters

BATCH_MEMBERS = 200
BATCH_ROWS = 1_000_000
BATCH_AGE = timedelta(minutes=1)
MOST_TASKS_COUNTED = 30
"""Of N tasks each writes N times less often, so that who gathers finds few objects; but a task that
dies has half an hour of work to do again at the most.
"""

Keep = Literal["figures", "trades", "all"]
Item = TypeVar("Item")

KEPT: Mapping[Keep, frozenset[str]] = {
    "figures": frozenset({"performance"}),
    "trades": frozenset({"performance", "trade"}),
    "all": frozenset(RESULT_TABLES),
}
"""The result tables that a member leaves behind."""


def keep_of(text: str) -> Keep:
    """Return what ``text`` says to keep. Raises :class:`ConfigError`."""
    for keep in KEPT:
        if keep == text:
            return keep
    raise ConfigError(f"A sweep cannot keep {text!r}.", tried=list(KEPT))


# What makes two members come out the same, beside the code and what they keep.
_IDENTITY = (
    "kind",
    "strategy",
    "parameters",
    "instruments",
    "granularity",
    "vendor",
    "data_snapshot",
    "account_currency",
    "starting_cash",
    "assumptions",
)


class SweepStore(Protocol):
    """The risk store, as sweeps see it; or where one of many tasks leaves its members."""

    def done(self, sweep_id: str) -> Collection[str]:
        """Return the run ids of a sweep's members that are stored and done."""
        ...

    def finish_many(self, results: Sequence[RunResult]) -> None:
        """Store many runs at once, each ``done`` or ``failed`` as its row says.

        All of them or none. A run that is done already stays as it is.
        """
        ...


@dataclass(frozen=True)
class SweepRequest:
    """What to play: a backtest with its strategies at their defaults, and the sets to give them.

    This task is number ``task`` (from 0) of ``tasks`` and takes every ``tasks``-th member. Without
    an ``id`` the sweep's own follows from the question. Raises :class:`ConfigError` for a set that
    does not fit the strategy.
    """

    backtest: BacktestRequest
    sets: Sequence[ParameterSet]
    id: str | None = None
    keep: Keep = "figures"
    task: int = 0
    tasks: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.task < self.tasks:
            raise ConfigError(
                f"There is no task {self.task} of {self.tasks}.", mend="--task counts from 0"
            )
        if not self.sets:
            raise ConfigError("A sweep needs a parameter set.", mend="--param name=a,b,c")
        if self.backtest.spec.log_signals:
            raise ConfigError("A sweep keeps no signals.", mend="mbats backtest --log-signals")
        self.specs  # noqa: B018 - a set that does not fit is refused here

    @cached_property
    def specs(self) -> Sequence[BacktestSpec]:
        """What to run for each of the sets, in their order."""
        plain = self.backtest.spec
        return [
            replace(plain, strategies=with_parameters(plain.strategies, given), kind="sweep")
            for given in self.sets
        ]

    def share_of(self, members: Sequence[Item]) -> Sequence[Item]:
        """Return those of a sweep's members that are this task's."""
        return members[self.task :: self.tasks]


@dataclass(frozen=True)
class Swept:
    """What a task did. ``members`` are those of the whole sweep, by run id; ``failed`` its own."""

    sweep_id: str
    members: Sequence[str]
    share: int
    stored_before: int
    played: int
    failed: Mapping[str, str]


def sweep(
    request: SweepRequest,
    market: MarketData,
    store: SweepStore,
    executor: Executor,
    *,
    now: Callable[[], datetime],
    progress: Callable[[int, int], None] | None = None,
) -> Swept:
    """Play this task's members that are not stored yet, and store them.

    ``progress`` is told how many of this task's members are done, and how many there are. Raises
    :class:`DataError` where data is missing, before anything is played. An interruption leaves
    whole members: those already played are stored first.
    """
    tell = progress or (lambda done, of: None)
    inputs = _inputs(request.backtest)
    sweep_id = request.id or sweep_id_of(request)
    loaded = load_inputs(market, *inputs)
    members = list(_members(request, loaded, sweep_id, now()).values())
    share = request.share_of(members)
    done = set(store.done(sweep_id))
    waiting = [member for member in share if member.run["run_id"] not in done]
    before = len(share) - len(waiting)
    tell(before, len(share))
    failed: dict[str, str] = {}
    batch = _Batch(store, now, request.tasks)
    try:
        for number, result in enumerate(executor.play(waiting, loaded, now), before + 1):
            if result.run["status"] == "failed":
                failed[result.run["run_id"]] = result.run["error"]
            batch.add(result)
            tell(number, len(share))
    except (KeyboardInterrupt, SystemExit, RunFailedError):
        batch.write()
        raise
    batch.write()
    ids = [member.run["run_id"] for member in members]
    return Swept(sweep_id, ids, len(share), before, len(waiting), failed)


class _Batch:
    """Results that wait to be written together."""

    def __init__(self, store: SweepStore, now: Callable[[], datetime], tasks: int) -> None:
        self._store, self._now = store, now
        self._tasks = min(tasks, MOST_TASKS_COUNTED)
        self._results: list[RunResult] = []
        self._rows = 0
        self._since = now()

    def add(self, result: RunResult) -> None:
        self._results.append(result)
        self._rows += sum(table.num_rows for table in result.tables.values())
        many = len(self._results) >= BATCH_MEMBERS * self._tasks or self._rows >= BATCH_ROWS
        if many or self._now() - self._since >= BATCH_AGE * self._tasks:
            self.write()

    def write(self) -> None:
        if self._results:
            self._store.finish_many(self._results)
        self._results, self._rows, self._since = [], 0, self._now()


def sweep_id_of(request: SweepRequest) -> str:
    """Return the id that follows from the question: what is played over which data."""
    asked = request.backtest
    question = {
        "sets": [parameters_of(spec) for spec in request.specs],
        "strategy": request.specs[0].names,
        "instruments": asked.instruments,
        "granularities": asked.granularities,
        "span": [asked.vendor, asked.start, asked.end],
        "money": [asked.spec.cash, asked.spec.account_currency, asked.spec.sizer],
        "costs": repr(asked.spec.costs),
        "keep": request.keep,
    }
    return f"sweep-{_digest(question)[:10]}"


def _inputs(asked: BacktestRequest) -> tuple[Any, ...]:
    return (
        asked.instruments,
        asked.granularities,
        asked.vendor,
        asked.spec.account_currency,
        asked.start,
        asked.end,
    )


def _members(
    request: SweepRequest,
    inputs: Inputs,
    sweep_id: str,
    now: datetime,
) -> dict[str, Member]:
    """Return the members by run id, in the order of the sets; equal sets are one member."""
    identity = Identity(sweep_id, now, git_sha(), image_digest())
    common = run_row(request.specs[0], inputs.bars, inputs.instruments, inputs.conversion, identity)
    code = code_hash()
    made: dict[str, Member] = {}
    for spec in request.specs:
        row = {**common, "parameters": parameters_of(spec), "parent_run_id": sweep_id}
        who = {name: row[name] for name in _IDENTITY} | {"code": code, "keep": request.keep}
        row["run_id"] = f"{sweep_id}-{_digest(who)[:16]}"
        made.setdefault(row["run_id"], Member(row, spec, KEPT[request.keep]))
    return made


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: Any) -> str:
    return str(value.normalize()) if isinstance(value, Decimal) else str(value)
