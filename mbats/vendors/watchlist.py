"""The watchlist in the security master: what the workbook says replaces what it said before."""

from mbats.market.history import HistoryStore, MergeCount
from mbats.market.watchlist import Watchlist

TABLE = "watchlist"


def publish(store: HistoryStore, watchlist: Watchlist, source: str) -> MergeCount:
    """Store the workbook's rows; those of a sheet that are no longer in it become inactive.

    ``source`` names the workbook. A sheet without one good row changes nothing: a lost sheet or
    a misspelt header must not stop a desk's data.
    """
    rows = watchlist.rows(source)
    present = {(row["instrument"], row["granularity"]) for row in rows}
    sheets = {granularity for _, granularity in present}
    left = [
        {key: value for key, value in row.items() if key != "ingested_at"} | {"active": False}
        for row in store.rows(TABLE, {"active": True})
        if row["granularity"] in sheets and (row["instrument"], row["granularity"]) not in present
    ]
    return store.merge(TABLE, [*rows, *left]) if rows else MergeCount(0, 0)
