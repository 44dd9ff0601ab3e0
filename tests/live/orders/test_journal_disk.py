"""A disk that is full, or whose fsync fails: no record is lost, half there, or glued to another."""

import os
import resource
from contextlib import contextmanager

import pytest

from mbats.live.orders.book import Book
from mbats.live.orders.journal import FileJournal, _line
from mbats.live.orders.protocol import Fate, OrderProtocol
from tests.live.fakes import FakeBroker, HeldLease, ManualClock, intent

FIRST, MORE = {"record": "lease", "fencing": 1}, {"record": "lease", "detail": "x" * 200}


@contextmanager
def room_for(path, more):
    """Let the file grow by ``more`` bytes at the most: the system takes that much and no more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def failing(monkeypatch, name, times=1, before=lambda *_: None):
    """Let a call of ``os`` fail, ``times`` times."""
    true, left = getattr(os, name), [times]

    def call(*arguments):
        if left[0]:
            left[0] -= 1
            before(*arguments)
            raise OSError(5, f"{name}: Input/output error")
        return true(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, name, call)
        yield


def read_again(path):
    journal = FileJournal(path)
    journal.close()
    return list(journal.records())


@pytest.fixture
def path(tmp_path):
    return tmp_path / "orders"


@pytest.fixture
def journal(path):
    made = FileJournal(path, worth=1)
    made.append(FIRST)
    yield made
    made.close()


@pytest.mark.parametrize("room", [0, 1, 50, len(_line(MORE)) - 1])
def test_a_full_disk_leaves_nothing_of_its_record_and_the_next_is_whole(journal, path, room):
    whole = path.read_bytes()
    with room_for(path, room), pytest.raises(OSError, match="too large"):
        journal.append(MORE)
    assert path.read_bytes() == whole, "no half record waits for the next one"
    assert list(journal.records()) == [FIRST]
    journal.append({"key": "after"})
    assert read_again(path) == [FIRST, {"key": "after"}] == list(journal.records())


def test_a_record_whose_fsync_failed_is_not_there(journal, path, monkeypatch):
    with failing(monkeypatch, "fsync"), pytest.raises(OSError, match="fsync"):
        journal.append(MORE)
    assert read_again(path) == [FIRST]
    journal.append({"key": "after"})
    assert read_again(path) == [FIRST, {"key": "after"}]


def test_a_disk_that_drops_what_it_could_not_sync_leaves_no_hole(journal, path, monkeypatch):
    """As Linux does: the pages are clean after the error, and the next fsync succeeds."""

    def drop(number):
        os.truncate(path, len(_line(FIRST)))
        os.truncate(path, len(_line(FIRST)) + len(_line(MORE)))  # zeros

    with failing(monkeypatch, "fsync", before=drop), pytest.raises(OSError, match="fsync"):
        journal.append(MORE)
    journal.append({"key": "after"})
    assert read_again(path) == [FIRST, {"key": "after"}]


def test_a_disk_that_takes_nothing_back_takes_nothing_more_until_it_does(
    journal, path, monkeypatch
):
    with failing(monkeypatch, "fsync", times=3):
        for _ in range(2):
            with pytest.raises(OSError, match="fsync"):
                journal.append(MORE)
        assert list(journal.records()) == [FIRST]
    journal.append({"key": "after"})
    assert read_again(path) == [FIRST, {"key": "after"}]


def test_a_compaction_on_a_full_disk_changes_nothing_and_the_next_one_works(journal, path):
    for _ in range(3):
        journal.append(MORE)
    with room_for(path, 100 - path.stat().st_size), pytest.raises(OSError, match="too large"):
        journal.compact([MORE])
    journal.append({"key": "after"})
    assert read_again(path) == [FIRST, MORE, MORE, MORE, {"key": "after"}]
    journal.compact([MORE])
    assert read_again(path) == [MORE]


def test_what_follows_a_compaction_whose_folder_was_not_synced_is_in_the_new_file(
    journal, path, monkeypatch
):
    journal.append(MORE)
    synced, true = [], FileJournal._sync_folder

    def fails_once(self):
        synced.append(True)
        if len(synced) == 1:
            raise OSError(5, "Input/output error")
        true(self)

    monkeypatch.setattr(FileJournal, "_sync_folder", fails_once)
    with pytest.raises(OSError, match="Input/output"):
        journal.compact([FIRST])
    journal.append({"key": "after"})
    assert len(synced) == 2, "the name is durable before anything counts on it"
    assert read_again(path) == [FIRST, {"key": "after"}]


def test_no_order_goes_out_that_the_full_disk_did_not_take_and_the_next_does(journal, path):
    clock = ManualClock()
    broker = FakeBroker(clock)
    bot = OrderProtocol(
        Book.opened_at(broker.state()), broker, journal, HeldLease(), clock, lambda t: None
    )
    with room_for(path, 60):
        verdict = bot.place(intent())
    assert (verdict.fate, broker.sent) == (Fate.UNKNOWN, [])
    assert "cannot be journaled" in verdict.detail
    clock.advance(30)
    assert [v.fate for v in bot.resolve()] == [Fate.NOT_PLACED]
    assert bot.place(intent(1)).fate is Fate.PLACED
    assert broker.sent == [intent(1).key]
    kinds = [(r["record"], r["key"]) for r in read_again(path)[1:]]
    assert kinds == [("outcome", intent().key), ("intent", intent(1).key),
                     ("outcome", intent(1).key)]  # fmt: skip
