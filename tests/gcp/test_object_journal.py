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
