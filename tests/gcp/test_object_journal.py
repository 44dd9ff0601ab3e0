import gzip
import itertools
import json
import threading

import pytest

from mbats.errors import DataError, NotReadyError, RefusedError
from mbats.gcp.journal import ObjectJournal
from mbats.gcp.objects import Objects

pytestmark = pytest.mark.emulators
_numbers = itertools.count()


@pytest.fixture(scope="module")
def objects(settings):
    objects = Objects.open(settings)
    yield objects
    objects.close()


@pytest.fixture
def name():
    return f"journal-{next(_numbers)}"


class Losing:
    """Objects that lose the answer to the next write; with ``before`` the write itself."""

    def __init__(self, objects):
        self._objects, self.lose = objects, ""
        self.read, self.list = objects.read, objects.list

    def write(self, *arguments, **options):
        lose, self.lose = self.lose, ""
        if lose != "before":
            self._objects.write(*arguments, **options)
        if lose == "twice":  # as Google's client does: it repeats what was applied
            self._objects.write(*arguments, **options)
        if lose:
            raise NotReadyError("the answer was lost")


def test_records_are_read_in_the_order_they_were_written(objects, name):
    journal = ObjectJournal(objects, name)
    for number in range(15):
        journal.append({"number": number})
    expected = tuple({"number": number} for number in range(15))
    assert journal.records() == expected
    assert ObjectJournal(objects, name).records() == expected


def test_journals_do_not_see_one_another(objects, name):
    ObjectJournal(objects, name).append({"a": 1})
    assert ObjectJournal(objects, name + "0").records() == ()


def test_a_second_writer_is_found_out_and_loses_nothing_of_the_first(objects, name):
    first, second = ObjectJournal(objects, name), ObjectJournal(objects, name)
    first.append({"by": "first"})
    with pytest.raises(RefusedError, match="Another process"):
        second.append({"by": "second"})
    assert ObjectJournal(objects, name).records() == ({"by": "first"},)


@pytest.mark.parametrize(("lose", "stored"), [("after", 1), ("before", 0)])
def test_a_write_whose_answer_was_lost_is_settled_by_the_next(objects, name, lose, stored):
    losing = Losing(objects)
    journal = ObjectJournal(losing, name)
    losing.lose = lose
    with pytest.raises(NotReadyError):
        journal.append({"number": 0})
    journal.append({"number": 1})
    expected = ({"number": 0},) * stored + ({"number": 1},)
    assert journal.records() == expected
    assert ObjectJournal(objects, name).records() == expected


def test_a_repeated_request_is_no_other_writer(objects, name):
    losing = Losing(objects)
    journal = ObjectJournal(losing, name)
    losing.lose = "twice"
    journal.append({"number": 0})
    assert ObjectJournal(objects, name).records() == ({"number": 0},)


def test_of_many_writers_at_once_one_writes_each_record(objects, name):
    journals = [ObjectJournal(objects, name) for _ in range(8)]
    start, won = threading.Barrier(8), []

    def write(number):
        start.wait(30)
        try:
            journals[number].append({"by": number})
        except RefusedError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(won) == 1
    assert ObjectJournal(objects, name).records() == ({"by": won[0]},)


def test_a_damaged_record_is_refused(objects, name):
    ObjectJournal(objects, name).append({"units": "1"})
    (stored,) = objects.list("state", f"journals/{name}/")
    content, _ = objects.read("state", stored.name)
    objects.write("state", stored.name, content.replace(b'"1"', b'"9"'))
    with pytest.raises(DataError, match="damaged"):
        ObjectJournal(objects, name)


def test_a_missing_record_is_refused(objects, name):
    objects.write("state", f"journals/{name}/000000000001.json", json.dumps({}).encode())
    with pytest.raises(DataError, match="not whole"):
        ObjectJournal(objects, name)


# Compaction.

KEPT = ({"key": "kept"}, {"key": "and this"})


class Dies(BaseException):
    """The process: nothing catches it."""


class Mortal:
    """Objects that die at the change of number ``at``, once made, or before with ``early``."""

    def __init__(self, objects, at, early):
        self._objects, self._left, self._early = objects, at, early
        self.read, self.list = objects.read, objects.list
        self._lock = threading.Lock()

    def write(self, *arguments, **options):
        self._change(lambda: self._objects.write(*arguments, **options))

    def remove(self, *arguments, **options):
        self._change(lambda: self._objects.remove(*arguments, **options))

    def _change(self, make):
        with self._lock:  # one by one, whatever threads ask
            self._left -= 1
            if self._left < 0 or (self._left == 0 and self._early):
                raise Dies
            make()
            if self._left == 0:
                raise Dies


def filled(objects, name, count=6):
    journal = ObjectJournal(objects, name, worth=3)
    for number in range(count):
        journal.append({"number": number})
    return journal


def names(objects, name):
    folder = f"journals/{name}/"
    return [stored.name.removeprefix(folder) for stored in objects.list("state", folder)]


def test_a_compacted_journal_is_one_object_and_goes_on(objects, name):
    journal = filled(objects, name)
    journal.compact(KEPT)
    assert names(objects, name) == ["snapshot-000000000006.json.gz"]
    journal.append({"key": "after"})
    assert journal.records() == (*KEPT, {"key": "after"})
    again = ObjectJournal(objects, name, worth=3)
    assert again.records() == (*KEPT, {"key": "after"})
    again.append({"key": "more"})
    again.append({"key": "enough"})
    again.compact([{"key": "second"}])
    assert names(objects, name) == ["snapshot-000000000009.json.gz"]
    assert ObjectJournal(objects, name).records() == ({"key": "second"},)


def test_few_objects_are_not_worth_a_snapshot(objects, name):
    filled(objects, name, 2).compact(KEPT)
    assert len(names(objects, name)) == 2


# A snapshot and six removals.
@pytest.mark.parametrize("early", [True, False])
@pytest.mark.parametrize("at", range(1, 8))
def test_killed_between_any_two_steps_the_journal_is_whole_and_the_next_start_ends_it(
    objects, name, at, early
):
    filled(objects, name)
    with pytest.raises(Dies):
        ObjectJournal(Mortal(objects, at, early), name, worth=3).compact(KEPT)
    before = tuple({"number": number} for number in range(6))
    found = ObjectJournal(objects, name, worth=3)
    assert found.records() == (before if (at, early) == (1, True) else KEPT)
    found.append({"key": "after"})
    again = ObjectJournal(objects, name, worth=3)
    assert again.records()[-1] == {"key": "after"}
    again.compact(again.records())
    assert ObjectJournal(objects, name).records() == again.records()
    assert len(names(objects, name)) <= 2


def test_a_snapshot_whose_answer_was_lost_is_found_by_the_next_start(objects, name):
    filled(objects, name)
    losing = Losing(objects)
    losing.remove = objects.remove
    journal = ObjectJournal(losing, name, worth=3)
    losing.lose = "after"
    with pytest.raises(NotReadyError):
        journal.compact(KEPT)
    journal.append({"key": "after"})
    assert ObjectJournal(objects, name).records() == (*KEPT, {"key": "after"})


def test_of_two_that_compact_one_finds_the_other_out(objects, name):
    filled(objects, name)
    one, other = (ObjectJournal(objects, name, worth=3) for _ in range(2))
    one.compact(KEPT)
    with pytest.raises(RefusedError, match="Another process wrote the snapshot of 6"):
        other.compact([{"key": "other"}])
    assert ObjectJournal(objects, name).records() == KEPT


def test_a_writer_that_slept_through_compactions_writes_where_nobody_reads(objects, name):
    filled(objects, name, 2)
    sleeper = ObjectJournal(objects, name, worth=3)
    filled_on = ObjectJournal(objects, name, worth=3)
    filled_on.append({"number": 2})
    filled_on.compact(KEPT)
    sleeper.append({"by": "a ghost"})
    assert ObjectJournal(objects, name).records() == KEPT
    ObjectJournal(objects, name, worth=3).compact(KEPT)
    assert names(objects, name) == ["snapshot-000000000003.json.gz"]


class Meanwhile:
    """Objects that are compacted by their writer after the reader has listed them."""

    def __init__(self, objects, compact):
        self._objects, self._compact = objects, compact
        self.read = objects.read

    def list(self, *arguments):
        found = list(self._objects.list(*arguments))
        compact, self._compact = self._compact, lambda: None
        compact()
        return found


def test_a_reader_beside_a_compaction_reads_again(objects, name):
    writer = filled(objects, name)
    reader = ObjectJournal(Meanwhile(objects, lambda: writer.compact(KEPT)), name)
    assert reader.records() == KEPT


def test_of_two_snapshots_the_newer_counts(objects, name):
    filled(objects, name).compact(KEPT)
    for number in range(3):
        ObjectJournal(objects, name).append({"number": number})
    journal = ObjectJournal(Mortal(objects, 1, early=False), name, worth=3)
    with pytest.raises(Dies):
        journal.compact([{"key": "newer"}])
    assert len(names(objects, name)) == 5
    assert ObjectJournal(objects, name).records() == ({"key": "newer"},)


def test_a_snapshot_that_lost_a_record_is_refused(objects, name):
    filled(objects, name).compact(KEPT)
    (stored,) = objects.list("state", f"journals/{name}/")
    lines = gzip.decompress(objects.read("state", stored.name)[0]).splitlines(keepends=True)
    objects.write("state", stored.name, gzip.compress(b"".join(lines[:-1])))
    with pytest.raises(DataError, match="not whole"):
        ObjectJournal(objects, name)


@pytest.mark.parametrize("damage", [b"", b"\x1f\x8b", None])
def test_a_damaged_snapshot_is_refused(objects, name, damage):
    filled(objects, name).compact(KEPT)
    (stored,) = objects.list("state", f"journals/{name}/")
    content, _ = objects.read("state", stored.name)
    flipped = content[:-6] + bytes([content[-6] ^ 1]) + content[-5:]
    objects.write("state", stored.name, flipped if damage is None else damage)
    with pytest.raises(DataError, match="damaged"):
        ObjectJournal(objects, name)
