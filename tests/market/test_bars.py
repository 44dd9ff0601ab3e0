"""Bars from a table: every column lands where it belongs (seed defect D1), nothing is guessed."""

from collections.abc import Callable
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from mbats.errors import DataError
from mbats.market.bars import BAR_SCHEMA, PARTS, PRICE_COLUMNS, SIDES, bars_from_table
from mbats.schemas import table

MakeTable = Callable[..., pa.Table]


def test_each_price_column_lands_on_its_own_side_and_part(make_table: MakeTable) -> None:
    rows = make_table()
    for number, name in enumerate(PRICE_COLUMNS):
        marked = pa.array([Decimal(number + 1)] * len(rows), BAR_SCHEMA.field(name).type)
        rows = rows.set_column(rows.schema.get_field_index(name), BAR_SCHEMA.field(name), marked)
    bars = bars_from_table(rows, "M1")
    for number, name in enumerate(PRICE_COLUMNS):
        side, part = name.split("_")
        assert (getattr(getattr(bars, side), part) == number + 1).all(), name


def test_times_and_volume_are_those_of_the_table(make_table: MakeTable) -> None:
    rows = make_table("H1")
    bars = bars_from_table(rows.slice(3), "H1")
    assert len(bars) == len(rows) - 3
    naive = [t.replace(tzinfo=None) for t in rows.column("start").to_pylist()[3:]]
    assert bars.start.tolist() == naive
    assert ((bars.end - bars.start) == np.timedelta64(1, "h")).all()
    assert bars.volume is not None
    assert bars.volume.tolist() == rows.column("volume").to_pylist()[3:]


def test_pages_read_as_one_table(make_table: MakeTable) -> None:
    rows = make_table("H1")
    pages = pa.concat_tables([rows.slice(0, 5), rows.slice(5, 7), rows.slice(12)])
    whole, paged = bars_from_table(rows, "H1"), bars_from_table(pages, "H1")
    for side in SIDES:
        for part in PARTS:
            a, b = (getattr(getattr(bars, side), part) for bars in (whole, paged))
            assert a.tolist() == b.tolist()


def test_mid_is_the_mean_where_the_vendor_has_none(make_table: MakeTable) -> None:
    bars = bars_from_table(make_table("H1", sides=("bid", "ask")), "H1")
    assert bars.bid is not None
    assert bars.ask is not None
    assert bars.mid.close.tolist() == ((bars.bid.close + bars.ask.close) / 2).tolist()


def test_mid_alone_leaves_bid_and_ask_out(make_table: MakeTable) -> None:
    bars = bars_from_table(make_table("H1", sides=("mid",)), "H1")
    assert bars.bid is None
    assert bars.ask is None


def test_bars_without_prices_are_refused(make_table: MakeTable) -> None:
    with pytest.raises(DataError, match="no complete prices"):
        bars_from_table(make_table("H1", sides=("bid",)), "H1")


def test_unordered_repeated_and_mixed_bars_are_refused(make_table: MakeTable) -> None:
    rows = make_table("H1")
    for order in ([1, 0], [0, 0]):
        with pytest.raises(DataError, match="strictly ascending"):
            bars_from_table(rows.take(pa.array(order)), "H1")
    other = rows.set_column(0, BAR_SCHEMA.field(0), pa.array(["USD_JPY"] * len(rows)))
    mixed = pa.concat_tables([rows.slice(0, 1), other.slice(1, 1)])
    with pytest.raises(DataError, match="bars of one instrument"):
        bars_from_table(mixed, "H1")
    with pytest.raises(DataError, match="none"):
        bars_from_table(rows.slice(0, 0), "H1")


@pytest.mark.parametrize("name", ["bar_minute", "bar_daily"])
def test_the_arrow_form_is_the_stored_form(name: str) -> None:
    stored = table("security_master", name).arrow
    assert stored.remove(stored.get_field_index("ingested_at")).equals(BAR_SCHEMA)
