"""The list of jobs that Terraform and the local stack share."""

import pytest

from mbats.errors import DataError
from mbats.local.cloud_run.jobs_file import containers, read_jobs

GOOD = """
backtest:
  image: desk
  account: backtest
  args: [backtest]
  cpu: "2"
  memory: 4Gi
  hours: 2
  retries: 1
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "jobs.yaml"
        file.write_text(text)
        return file

    return write


def test_the_desks_own_list_is_read_whole():
    jobs = read_jobs(containers() / "jobs.yaml")
    assert {"backtest", "download", "halt", "parity", "reconcile", "sweep"} <= set(jobs)
    assert jobs["download"].args == ("data", "load")
    assert (jobs["halt"].broker, jobs["download"].broker) == ("trading", "history")
    assert (jobs["sweep"].parallelism, jobs["backtest"].parallelism) == (0, 1)
    assert jobs["backtest"].broker == "none"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("hours: 2", "hours: 200"), "hours"),
        (("hours: 2", "hours: '2'"), "hours"),
        (("retries: 1", "retries: 11"), "retries"),
        (("memory: 4Gi", "memory: 4G"), "memory"),
        (('cpu: "2"', "cpu: 2"), "cpu"),
        (("args: [backtest]", "args: backtest"), "args"),
        (("args: [backtest]", "args: [1]"), "args.0"),
        (("image: desk", "image: ../desk"), "image"),
        (("  retries: 1\n", ""), "retries"),
        (("retries: 1", "retries: 1\n  retrys: 1"), "retrys"),
        (("retries: 1", "retries: 1\n  broker: live"), "broker"),
    ],
)
def test_a_bad_field_is_named(written, change, named):
    with pytest.raises(DataError) as caught:
        read_jobs(written(GOOD.replace(*change)))
    assert "'backtest'" in caught.value.cause
    assert any(line.startswith(f"{named}:") for line in caught.value.tried)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no jobs"),
        ("- a\n- b", "holds no jobs"),
        ("a: [", "not valid YAML"),
        (GOOD + GOOD, "named twice"),
        (GOOD.replace("retries: 1", "retries: 1\n  retries: 2"), "named twice"),
        (GOOD.replace("backtest:\n", "Backtest:\n", 1), "no name of a job"),
        ("backtest: 3", "'backtest' is wrong"),
    ],
)
def test_a_file_that_is_no_list_of_jobs_is_refused(written, text, said):
    with pytest.raises(DataError, match=said):
        read_jobs(written(text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"jobs\.yaml cannot be read"):
        read_jobs(tmp_path / "jobs.yaml")
