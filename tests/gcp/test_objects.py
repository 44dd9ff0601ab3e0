import pytest

from mbats.errors import NotReadyError, RefusedError

pytestmark = pytest.mark.emulators


@pytest.fixture
def objects(bare_desk):
    return bare_desk.objects


def test_what_was_written_is_read_with_its_generation(objects):
    generation = objects.write("reports", "one/a.html", b"<p>", content_type="text/html")
    assert objects.read("reports", "one/a.html") == (b"<p>", generation)
    assert objects.read("reports", "one/missing") is None


def test_names_with_a_prefix_are_listed(objects):
    for name in ("two/b", "two/a", "three/c"):
        objects.write("reports", name, name.encode())
    found = list(objects.list("reports", "two/"))
    assert [(each.name, each.size) for each in found] == [("two/a", 5), ("two/b", 5)]


def test_of_two_writers_from_one_generation_the_second_is_refused(objects):
    first = objects.write("state", "lock", b"1", if_generation=0)
    with pytest.raises(RefusedError, match="not at generation 0"):
        objects.write("state", "lock", b"2", if_generation=0)
    second = objects.write("state", "lock", b"3", if_generation=first)
    with pytest.raises(RefusedError, match="another was first"):
        objects.write("state", "lock", b"4", if_generation=first)
    assert objects.read("state", "lock") == (b"3", second)


def test_a_bucket_that_is_not_there_is_named(bare_desk, monkeypatch):
    settings = bare_desk.settings.model_copy(update={"bucket_prefix": "nobody"})
    monkeypatch.setattr(bare_desk, "settings", settings)
    with pytest.raises(NotReadyError, match="nobody-reports/x"):
        bare_desk.objects.write("reports", "x", b"")
