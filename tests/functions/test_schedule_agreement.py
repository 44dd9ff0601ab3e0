"""A valid strategies.csv means the same to the strict reader and to the DAGs, without mbats."""

import importlib.util
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mbats.strategy.schedule import COLUMNS, PAPER_ACCOUNT, TRADING, RowMode, read_schedule

READER = Path(__file__).parents[2] / "composer_dags" / "desk" / "schedule_file.py"
ACCOUNTS = [PAPER_ACCOUNT, "000-001-0000002-001", "101-001-1234567-001", "001-001-7654321-009"]


@pytest.fixture(scope="module")
def factory():
    """The reader of the DAG factory."""
    spec = importlib.util.spec_from_file_location("schedule_file", READER)
    module = importlib.util.module_from_spec(spec)
    sys.modules["schedule_file"] = module
    spec.loader.exec_module(module)
    return module


pairs = st.lists(
    st.sampled_from(["EUR_USD", "usdjpy", "GBP/USD", "AUD-USD", "NAS100_USD", "XAU_USD"]),
    min_size=1,
    max_size=3,
    unique_by=lambda name: name.upper().replace("/", "_").replace("-", "_"),
)
parameters = st.dictionaries(
    st.sampled_from(["period", "rsi_buy", "granularity", "size"]),
    st.sampled_from(["1", "0.5", "M1", "units:1000", "a/b@c%d+e"]),
    max_size=3,
)
rows = st.lists(
    st.tuples(
        st.sampled_from(["sma_reversal", "rsi_x", "c3"]),
        st.sampled_from(list(RowMode)),
        pairs,
        st.sampled_from(["", "m1", "models:/fx@champion"]),
        st.sampled_from(["", *ACCOUNTS]),
        parameters,
    ),
    min_size=1,
    max_size=4,
)


@given(rows=rows, separator=st.sampled_from([",", ";", " ", ", "]))
def test_both_read_a_valid_file_alike(factory, tmp_path_factory, rows, separator):
    lines = [",".join(COLUMNS)]
    for name, mode, securities, model, account, given_parameters in rows:
        said = ";".join(f"{k}={v}" for k, v in given_parameters.items())
        cells = (name, mode, f'"{separator.join(securities)}"', model, account, said)
        lines.append(",".join(cells))
    content = "\n".join(lines).encode()
    file = tmp_path_factory.getbasetemp() / "agreement.csv"
    file.write_bytes(content)
    schedule = read_schedule(content)
    if schedule.problems:
        return

    read, problems = factory.read(file, dict.fromkeys(ACCOUNTS, "bot"))

    assert not problems
    strict = [
        (
            entry.strategy,
            entry.mode,
            entry.securities,
            (entry.account or (PAPER_ACCOUNT if entry.mode is RowMode.PAPER else ""))
            if entry.mode in TRADING
            else "",
            {**entry.parameters, **({"model_id": entry.model_id} if entry.model_id else {})},
        )
        for entry in schedule.entries
    ]
    lenient = [
        (row.strategy, row.mode, row.instruments, row.account, {**row.parameters, **row.options})
        for row in read
    ]
    assert strict == lenient
