"""Who plays the members of a sweep.

An :class:`Executor` is given all members of a task at once, so that one which compiles strategies
or shares indicators between members can arrange them as it likes. The interpreter plays each by
itself, with backtrader.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from mbats import schemas
from mbats.backtest.engine import BacktestSpec, run_backtest
from mbats.backtest.inputs import Inputs
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.errors import MbatsError, RunFailedError

TERMINATED = 128 + signal.SIGTERM  # the exit code of a process that was asked to end


@dataclass(frozen=True)
class Member:
    """One member of a sweep: its row of ``risk.run`` before it starts, and what to play.

    ``keep`` names the result tables it leaves behind.
    """

    run: Mapping[str, Any]
    spec: BacktestSpec
    keep: frozenset[str]


class Executor(Protocol):
    """Plays members over the bars they share."""

    def play(
        self, members: Sequence[Member], inputs: Inputs, now: Callable[[], datetime]
    ) -> Iterator[RunResult]:
        """Yield the whole result of each member, once, in any order.

        One that raises is yielded too, with status ``failed``, its error and no rows.
        """
        ...


@dataclass(frozen=True)
class Interpreter:
    """Plays members with backtrader, in ``jobs`` processes; in this one where that is 1.

    ``now`` must be picklable for more than one. Raises :class:`RunFailedError` where a process is
    killed.
    """

    jobs: int = 1

    def play(
        self, members: Sequence[Member], inputs: Inputs, now: Callable[[], datetime]
    ) -> Iterator[RunResult]:
        """Yield the result of each member as it is done."""
        if self.jobs == 1:
            for member in members:
                yield _played(member, inputs, now)
            return
        pool = ProcessPoolExecutor(
            max_workers=min(self.jobs, max(len(members), 1)),
            # Not a fork: the connections to the stores must not be shared.
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin,
            initargs=(inputs, now),
        )
        try:
            for done in as_completed([pool.submit(_play_one, member) for member in members]):
                yield done.result()
        except BrokenProcessPool as error:
            raise RunFailedError(
                "A process of the sweep was killed; perhaps there was no memory left.",
                mend="run it again with fewer --jobs: what is stored is not run twice",
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _played(member: Member, inputs: Inputs, now: Callable[[], datetime]) -> RunResult:
    run = {**member.run, "started_at": now()}
    try:
        done = run_backtest(
            member.spec, inputs.bars, inputs.instruments, inputs.conversion, run, now=now
        )
    except MbatsError as error:
        return _failed(run, error.cause, now)
    except SystemExit as error:
        if error.code == TERMINATED:
            raise  # this process was asked to end: the member did not fail
        return _failed(run, f"SystemExit: {error.code}", now)
    except Exception as error:  # noqa: BLE001 - recorded with the member; the others go on
        return _failed(run, f"{type(error).__name__}: {error}", now)
    kept = {
        name: table if name in member.keep else table.schema.empty_table()
        for name, table in done.tables.items()
    }
    return RunResult(done.run, kept)


def _failed(run: Mapping[str, Any], error: str, now: Callable[[], datetime]) -> RunResult:
    empty = {name: schemas.table("risk", name).arrow.empty_table() for name in RESULT_TABLES}
    return RunResult({**run, "status": "failed", "error": error, "ended_at": now()}, empty)


_shared: list[tuple[Inputs, Callable[[], datetime]]] = []


def _begin(inputs: Inputs, now: Callable[[], datetime]) -> None:
    """Prepare a process of the pool: it has the bars once, and ends with Ctrl-C or its parent."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _shared.append((inputs, now))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _play_one(member: Member) -> RunResult:
    return _played(member, *_shared[0])
