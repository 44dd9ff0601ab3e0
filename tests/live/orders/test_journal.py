import pytest
from hypothesis import given
from hypothesis.strategies import dictionaries, integers, lists, text

from mbats.errors import DataError
from mbats.live.orders.journal import FileJournal

RECORDS = lists(dictionaries(text(), text() | integers()), max_size=5)


@given(records=RECORDS)
def test_what_was_appended_is_read_back_in_order(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("journal") / "orders"
    journal = FileJournal(path)
    for record in records:
        journal.append(record)
    journal.close()
    assert list(FileJournal(path).records()) == records


@pytest.mark.parametrize("cut", range(1, 25))
def test_a_torn_last_record_is_cut_off_and_the_journal_goes_on(tmp_path, cut):
    path = tmp_path / "orders"
    journal = FileJournal(path)
    journal.append({"key": "whole"})
    journal.append({"key": "torn"})
    journal.close()
    path.write_bytes(path.read_bytes()[:-cut])
    again = FileJournal(path)
    kept = list(again.records())
    assert kept[0] == {"key": "whole"}
    assert kept[1:] in ([], [{"key": "torn"}])
    again.append({"key": "after"})
    again.close()
    assert list(FileJournal(path).records()) == [*kept, {"key": "after"}]


def test_damage_in_the_middle_is_refused_with_its_line(tmp_path):
    path = tmp_path / "orders"
    journal = FileJournal(path)
    for number in range(3):
        journal.append({"key": number})
    journal.close()
    path.write_bytes(path.read_bytes().replace(b'"key":1', b'"key":7'))
    with pytest.raises(DataError, match=r"Line 2 .* is damaged"):
        FileJournal(path)
