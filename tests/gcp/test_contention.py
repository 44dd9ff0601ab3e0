"""Writers of one table that stand in each other's way: the errors are BigQuery's own words."""

import heapq
import random
from types import SimpleNamespace

import pytest
from google.api_core.exceptions import BadRequest, NotFound

from mbats import schemas
from mbats.config import Settings
from mbats.errors import DataError, NotReadyError
from mbats.gcp.batch import table_of
from mbats.gcp.contention import LONGEST_PAUSE_S, Contention
from mbats.gcp.risk_store import SWEEP_PATIENCE_S, RiskStore
from mbats.gcp.warehouse import Warehouse, Write
from tests.gcp import samples
from tests.gcp.test_sweep_store import member

ABORTED = (
    "Query error: Transaction is aborted due to concurrent update against table fx:risk.run. "
    "Transaction ID: 61e30eea-0000-2dab-8e60-94eb2c1b1a92 at [5:1]"
)
SERIALIZE = "Could not serialize access to table fx:risk.run due to concurrent update"
QUEUE_FULL = (
    "Resources exceeded during query execution: Too many DML statements outstanding against "
    "table fx:risk.run, limit is 20."
)
QUEUED = (
    "Quota exceeded: Your project and region exceeded quota for max number of jobs that can be "
    "queued per project."
)


class Clock:
    """Time passes only while somebody sleeps."""

    def __init__(self):
        self.now, self.slept = 0.0, []

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        self.slept.append(seconds)


def refusal(said):
    return BadRequest(said, errors=[{"reason": "invalidQuery", "message": said}])


class BigQuery:
    """A client whose changes are refused in these words, one after another, then done; its
    questions ``queued`` times.
    """

    project, location = "fx", "EU"

    def __init__(self, *words, queued=0):
        self._words, self._queued, self.scripts = list(words), queued, []

    def query(self, sql, job_config):
        values = {each.name: getattr(each, "value", None) for each in job_config.query_parameters}
        self.scripts.append((sql, values))
        said = self._words.pop(0) if self._words else None

        def result(timeout):
            if said:
                raise refusal(said)

        stats = SimpleNamespace(inserted_row_count=1, updated_row_count=0)
        return SimpleNamespace(result=result, dml_stats=stats)

    def query_and_wait(self, sql, job_config):
        if self._queued:
            self._queued -= 1
            raise refusal(QUEUED)
        return []

    def get_job(self, job_id, location):
        raise NotFound(job_id)

    def create_table(self, table, exists_ok):
        """Take it."""

    def load_table_from_file(self, *file, **options):
        return SimpleNamespace(result=lambda timeout: None)

    def delete_table(self, name, not_found_ok):
        """Take it."""


def opened(client, chance=lambda: 0.5):
    clock = Clock()
    contention = Contention(clock.sleep, clock, chance)
    return Warehouse(Settings(), client, None, contention), clock


def one_row():
    schema = schemas.table("risk", "run")
    return [Write(schema, table_of(schema, [samples.run("r", status="done")]))]


@pytest.mark.parametrize("said", [ABORTED, SERIALIZE, QUEUE_FULL])
def test_a_transaction_that_another_writer_cancelled_is_sent_again_whole(said):
    client = BigQuery(said, said)
    warehouse, clock = opened(client)
    warehouse.write_all(one_row(), "ASSERT TRUE AS 'x'")
    first, second, third = client.scripts
    assert first == second == third
    assert first[0].startswith("BEGIN TRANSACTION;\nASSERT")
    assert clock.slept == [0.5, 1.0]


def test_a_merge_is_sent_again_as_well():
    client = BigQuery(SERIALIZE)
    warehouse, clock = opened(client)
    (write,) = one_row()
    assert warehouse.merge(write.schema, write.rows).inserted == 1
    assert (len(client.scripts), clock.slept) == (2, [0.5])


def test_waits_are_random_and_grow_to_a_longest():
    chances = random.Random(1)
    pauses = Contention(chance=chances.random).pauses()
    found = [next(pauses) for _ in range(200)]
    assert max(found) <= LONGEST_PAUSE_S
    assert [ceiling >= each for ceiling, each in zip([1, 2, 4, 8, 16, 30], found, strict=False)]
    late = found[6:]
    assert min(late) < 3 < 27 < max(late)


def test_patience_ends_and_says_what_to_do():
    client = BigQuery(*[ABORTED] * 1_000)
    warehouse, clock = opened(client)
    with pytest.raises(NotReadyError, match="kept writing the same table for 15 minutes") as error:
        warehouse.write_all(one_row())
    assert 800 < clock.now <= 900
    assert f"{len(client.scripts)} times: {ABORTED}" in error.value.tried[0]
    assert "nothing of this is stored" in error.value.mend


def test_a_query_outlasts_a_full_queue_and_then_says_so():
    warehouse, clock = opened(BigQuery(queued=2))
    assert warehouse.query("SELECT 1") == []
    assert clock.slept == [0.5, 1.0]
    warehouse, _ = opened(BigQuery(queued=1_000))
    with pytest.raises(NotReadyError, match="filled the project's queue of queries for 15 min"):
        warehouse.query("SELECT 1")


def test_another_refusal_is_not_repeated():
    client = BigQuery("Query error: these runs may not finish at [2:1]")
    warehouse, clock = opened(client)
    with pytest.raises(DataError, match="may not finish"):
        warehouse.write_all(one_row())
    assert (len(client.scripts), clock.slept) == (1, [])


def test_a_sweep_waits_longer_than_a_person_would():
    """Its claim and its results; nothing of either is sent twice once it was taken."""
    client = BigQuery(*[QUEUE_FULL] * 100, "", *[ABORTED] * 100)
    warehouse, clock = opened(client)
    RiskStore(warehouse).finish_many([member("sweep", 1), member("sweep", 2)])
    assert 2_700 < clock.now < SWEEP_PATIENCE_S
    claims, results = client.scripts[:101], client.scripts[101:]
    assert {sql[:5] for sql, _ in claims} == {"MERGE"}
    assert len(results) == 101
    assert len({sql for sql, _ in results}) == 1


def ended_after(writers, seed, whole_s=12.0, alone_s=6.0):
    """When each of ``writers`` that begin at once has written, as BigQuery would let them.

    A transaction takes ``whole_s``; in its last ``alone_s`` it changes the table, and is cancelled
    where another does so already.
    """
    chances = random.Random(seed)
    pauses = [Contention(chance=chances.random).pauses() for _ in range(writers)]
    waiting = [(whole_s - alone_s + chances.random(), who) for who in range(writers)]
    heapq.heapify(waiting)
    free_at, ended = 0.0, []
    while waiting:
        at, who = heapq.heappop(waiting)
        if at >= free_at:
            free_at = at + alone_s
            ended.append(free_at)
        else:
            heapq.heappush(waiting, (at + next(pauses[who]) + whole_s - alone_s, who))
    return ended


@pytest.mark.parametrize("seed", range(5))
def test_a_hundred_sweeps_that_end_together_have_all_written_in_time(seed):
    ended = ended_after(100, seed)
    assert len(ended) == 100
    assert ended[-1] < SWEEP_PATIENCE_S / 4
