"""What a sweep of 10,000 tasks asks of BigQuery, beside what BigQuery allows in a day.

The limits are from https://cloud.google.com/bigquery/quotas. What is asked is counted from the
requests that reach the client.
"""

import re
from collections import Counter
from types import SimpleNamespace

import pyarrow as pa
import pytest
from google.api_core import exceptions

from mbats import schemas
from mbats.backtest.gathering import Ended, gather
from mbats.backtest.result import RESULT_TABLES, RunResult
from mbats.config import Settings
from mbats.gcp.risk_store import RiskStore
from mbats.gcp.warehouse import Warehouse
from tests.backtest.sweeping import NOW
from tests.gcp import samples
from tests.gcp.test_contention import BigQuery

TASKS = 10_000
LOADS_A_DAY, LOADS_OF_A_TABLE_A_DAY = 100_000, 1_500
REQUEST_BYTES = 10_000_000
CHANGE = re.compile(r"(?:MERGE|INSERT INTO|UPDATE) `([^`]+)`")


class Counting(BigQuery):
    """A client that takes everything and counts; its tables stay empty."""

    def __init__(self):
        super().__init__()
        self.loads, self.changes, self.longest = Counter(), Counter(), 0

    def load_table_from_file(self, file, table, **options):
        self.loads[f"{table.dataset_id}.{table.table_id}"] += 1
        return super().load_table_from_file(file, table, **options)

    def query(self, sql, job_config):
        self.changes.update(name.split(".", 1)[1] for name in CHANGE.findall(sql))
        self.longest = max(self.longest, len(str(job_config.to_api_repr())))
        return super().query(sql, job_config)


class NoRows:
    """A Storage Read API over empty tables."""

    def create_read_session(self, **asked):
        return SimpleNamespace(streams=[])


class Left:
    """What 10,000 tasks leave that play ``members`` each: eight rows of figures a member."""

    def __init__(self, members):
        self._members = members

    def ended(self, sweep_id):
        shares = ([self._id(task, n) for n in range(self._members)] for task in range(TASKS))
        return [Ended(task, TASKS, "s", share, {}, NOW) for task, share in enumerate(shares)]

    def results(self, sweep_id, done):
        for task in range(TASKS):
            yield [self._result(self._id(task, n)) for n in range(self._members)]

    def _id(self, task, number):
        return f"sweep-0123456789-{task * self._members + number:016x}"

    def _result(self, run_id):
        run = samples.run(run_id, kind="sweep", parent_run_id="sweep", status="done")
        column = pa.array([run_id] * FIGURES.num_rows)
        return RunResult(run, EMPTY | {"performance": FIGURES.set_column(0, "run_id", column)})


SCHEMAS = {name: schemas.table("risk", name) for name in RESULT_TABLES}
EMPTY = {name: schema.arrow.empty_table() for name, schema in SCHEMAS.items()}
FIGURES = samples.result_tables("r", rows=8)["performance"].cast(SCHEMAS["performance"].arrow)


@pytest.mark.parametrize(("members", "writes"), [(1, 1), (3, 2)])
def test_a_gathering_of_10_000_tasks_is_a_few_load_jobs_and_statements(members, writes):
    """A write is two loads of `run`, its claim and its rows, and one of each table kept; a MERGE
    and one transaction: an UPDATE and an INSERT of `run`, an INSERT of each table kept.
    """
    client = Counting()
    gathered = gather("sweep", TASKS, Left(members), RiskStore(opened(client)))
    assert (gathered.members, gathered.lost) == (TASKS * members, [])
    assert sum(client.loads.values()) == 3 * writes < LOADS_A_DAY / 1_000
    assert max(client.loads.values()) == 1 < LOADS_OF_A_TABLE_A_DAY  # each its own staging table
    assert client.changes == {"risk.run": 3 * writes, "risk.performance": writes}
    assert client.longest < REQUEST_BYTES / 5


def test_tasks_that_wrote_for_themselves_would_be_too_many():
    """What the count above is compared with: one task's only write, ten thousand times."""
    client = Counting()
    (results, *_) = Left(1).results("sweep", ())
    RiskStore(opened(client)).finish_many(results)
    assert TASKS * client.changes["risk.run"] > 10 * LOADS_OF_A_TABLE_A_DAY
    assert TASKS * sum(client.loads.values()) > LOADS_A_DAY / 5


def test_a_read_that_the_quota_refuses_is_asked_again():
    """10,000 tasks ask for their bars: more sessions than Google grants a project in a minute."""
    answers = [exceptions.ResourceExhausted("Quota exceeded for 'Read control plane requests'")]

    def create_read_session(*, retry, **asked):
        def once():
            if answers:
                raise answers.pop()
            return SimpleNamespace(streams=[])

        return retry.with_delay(initial=0, maximum=0)(once)()

    reader = SimpleNamespace(create_read_session=create_read_session)
    assert RiskStore(Warehouse(Settings(project="fx"), Counting(), reader)).done("sweep") == set()
    assert answers == []


def opened(client):
    return Warehouse(Settings(project="fx"), client, NoRows())
