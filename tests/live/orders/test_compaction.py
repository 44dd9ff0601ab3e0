"""A compacted journal says the same to everyone who reads it, and does not grow with history."""

import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from mbats.live.orders.book import Book
from mbats.live.orders.compaction import REFUSABLE, compacted
from mbats.live.orders.journal import FileJournal
from mbats.live.orders.protocol import Fate, OrderProtocol
from mbats.live.recovery import first_checkpoint, last_checkpoint, prove_clean
from mbats.live.trader import quarantine_of
from mbats.trading.order import OrderType
from tests.live.fakes import START, MemoryJournal, intent
from tests.live.test_recovery import CALM, Life

LATER = START + REFUSABLE + timedelta(days=1)


class CompactingJournal(MemoryJournal):
    """Compacted for as little as one record less."""

    def compact(self, kept):
        self.lines = [json.dumps(record) for record in kept]


@pytest.fixture
def life():
    """An account with ten filled orders, one that waits, one lost, and many checkpoints."""
    life = Life()
    trader = life.start()
    for number in range(10):
        trader.submit(intent(number))
        trader.checkpoint()
    trader.submit(intent(10, kind=OrderType.LIMIT))
    life.broker.fault = "lost"
    trader.submit(intent(11))
    life.clock.advance(quarantine_of(CALM).total_seconds())
    assert [v.fate for v in trader.resolve()] == [Fate.NOT_PLACED]
    trader.checkpoint()
    life.trader = trader
    return life


def read(records, life):
    """Return all that a reader takes from a journal."""
    protocol = OrderProtocol(
        Book.from_record(life.trader.book.to_record()), life.broker, Recorded(records),
        life.lease, life.clock, lambda _: None,
    )  # fmt: skip
    book, values = last_checkpoint(records)
    return {key: protocol.fate(key) for key in protocol.known_keys}, book, values


class Recorded:
    def __init__(self, records):
        self._records = records

    def records(self):
        return self._records


def keys(records):
    return {record["key"] for record in records if record["record"] == "intent"}


def closed(life, *numbers):
    """Return the books after the trades of these intents were closed: nothing claims their keys."""
    gone = {intent(number).key for number in numbers}
    book = Book.from_record(life.trader.book.to_record())
    book.trades = {n: t for n, t in book.trades.items() if t.client_key not in gone}
    return book


def test_without_a_proof_only_checkpoints_in_the_middle_go(life):
    records = life.journal.records()
    kept = compacted(records, life.trader.book, None, LATER)
    assert read(kept, life) == read(records, life)
    assert first_checkpoint(kept) == first_checkpoint(records)
    assert sum(r["record"] == "checkpoint" for r in kept) == 2
    assert [r for r in kept if "key" in r] == [r for r in records if "key" in r]
    prove_clean(kept, life.broker)


def test_what_was_proved_long_ago_and_is_closed_is_forgotten(life):
    """Trades that are held, an order that waits, and what was sent at the proof's very end stay."""
    records, book = life.journal.records(), closed(life, *range(5))
    records[-1]["book"] = book.to_record()
    kept = compacted(records, book, book, LATER)
    assert keys(kept) == {intent(number).key for number in range(5, 12)}
    assert first_checkpoint(kept) == book


def test_the_next_proof_begins_where_the_last_one_ended(life):
    records, book = life.journal.records(), closed(life, *range(10))
    proven = Book.from_record([r for r in records if r["record"] == "checkpoint"][6]["book"])
    kept = compacted(records, book, replace(proven, trades={}), LATER)
    assert first_checkpoint(kept) == replace(proven, trades={})
    assert last_checkpoint(kept) == last_checkpoint(records)
    before = {r["key"] for r in records if r["record"] == "intent" and r["since"] < proven.cursor}
    held = {trade.client_key for trade in last_checkpoint(records)[0].trades.values()}
    assert keys(kept) == keys(records) - (before - held)
    assert intent(9).key in keys(kept)


def test_a_key_that_a_restart_could_make_again_is_never_forgotten(life):
    records, book = life.journal.records(), closed(life, *range(10))
    records[-1]["book"] = book.to_record()
    kept = compacted(records, book, book, START + REFUSABLE)
    assert keys(kept) == keys(records)


@pytest.mark.parametrize("age", [timedelta(0), REFUSABLE * 10])
def test_what_is_held_waits_or_is_unproved_is_kept_however_old(life, age):
    records = life.journal.records()
    held = {intent(n).key for n in range(11)}
    assert keys(compacted(records, life.trader.book, life.trader.book, START + age)) >= held
    book = closed(life, *range(10))
    records[-1]["book"] = book.to_record()
    early = first_checkpoint(records)
    assert keys(compacted(records, book, early, START + age)) == keys(records)


def test_an_intent_without_an_outcome_is_kept_however_old(life):
    records, book = life.journal.records(), closed(life, *range(10))
    records[-1]["book"] = book.to_record()
    unsettled = [r for r in records if r.get("key") != intent(3).key or r["record"] == "intent"]
    assert intent(3).key in keys(compacted(unsettled, book, book, LATER))


def test_a_proof_that_the_account_cannot_have_is_not_believed(life):
    records, book = life.journal.records(), life.trader.book
    ahead = Book(book.account, book.cursor + 1, Decimal(0))
    assert compacted(records, book, ahead, LATER) == compacted(records, book, None, LATER)


def test_a_compacted_journal_compacts_to_itself(life):
    book = life.trader.book
    once = compacted(life.journal.records(), book, book, LATER)
    assert compacted(once, book, book, LATER) == once


def test_a_start_compacts_and_the_next_start_knows_the_same():
    life = Life()
    life.journal = CompactingJournal()
    trader = life.start()
    for number in range(5):
        trader.submit(intent(number))
        trader.checkpoint()
    trader.submit(intent(5))  # after the newest checkpoint: to be told again
    before = len(life.journal.lines)
    life.told.clear()
    life.start()
    assert len(life.journal.lines) < before
    told = list(life.told)
    assert told
    life.told.clear()
    again = life.start()
    assert life.told == told, "the newest checkpoint did not move: what came after is told again"
    assert again.submit(intent(2)).fate is Fate.REPEATED
    assert len(life.broker.sent) == 6


def test_an_account_that_does_not_reconcile_compacts_nothing():
    life = Life()
    life.journal = CompactingJournal()
    trader = life.start()
    trader.submit(intent(0))
    trader.checkpoint()
    trader.checkpoint()
    before = list(life.journal.lines)
    life.broker.place(intent(7), comment="a stranger")
    with pytest.raises(Exception, match="does not reconcile"):
        life.start()
    assert life.journal.lines == before


class TestFile:
    RECORDS = tuple({"key": number} for number in range(20))

    @pytest.fixture
    def path(self, tmp_path):
        journal = FileJournal(tmp_path / "orders")
        for record in self.RECORDS:
            journal.append(record)
        journal.close()
        return tmp_path / "orders"

    def test_a_compacted_file_goes_on(self, path):
        journal = FileJournal(path, worth=5)
        journal.compact([{"key": "kept"}])
        journal.append({"key": "after"})
        journal.close()
        assert list(FileJournal(path).records()) == [{"key": "kept"}, {"key": "after"}]

    def test_little_is_not_worth_it(self, path):
        size = path.stat().st_size
        FileJournal(path, worth=5).compact(self.RECORDS[4:])
        assert path.stat().st_size == size

    @pytest.mark.parametrize("step", ["open", "fsync", "replace"])
    def test_killed_at_any_step_it_is_whole(self, path, step, monkeypatch):
        def die(*_, **__):
            raise KeyboardInterrupt

        journal = FileJournal(path, worth=5)
        if step == "fsync":
            monkeypatch.setattr("mbats.live.orders.journal.os.fsync", die)
        else:
            monkeypatch.setattr(type(path), step, die)
        with pytest.raises(KeyboardInterrupt):
            journal.compact([{"key": "kept"}])
        monkeypatch.undo()
        again = FileJournal(path, worth=5)
        assert again.records() == self.RECORDS
        again.compact([{"key": "kept"}])
        assert FileJournal(path).records() == ({"key": "kept"},)
