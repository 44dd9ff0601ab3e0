"""The pipeline in its own environment gives what the library gives in this one, bit for bit."""

from datetime import UTC, datetime
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from threading import Thread

import numpy as np
import pyarrow.parquet as pq
import pytest

from mbats import schemas
from mbats.config import Settings
from mbats.desk import Desk
from mbats.errors import DataError
from mbats.gcp.tables import apply_tables
from mbats.local.beam import BEAM, ticks_to_bars
from mbats.local.environments import Environments
from mbats.market.granularity import Granularity
from mbats.market.tick_bars import findings, named, piece_of, tick_bars
from tests.market.made_ticks import busy, mark, row, table

pytestmark = pytest.mark.slow

VENVS = Path(__file__).parents[2] / ".mbats" / "venvs"
G = (Granularity.S5, Granularity.M1, Granularity.H3, Granularity.D)
STORED = (Granularity.M1, Granularity.D)
NAMES = ("EUR_USD", "USD_JPY", "GBP_USD")
LAST = "2026-03-12"
UNTIL = datetime(2026, 3, 12, 21, tzinfo=UTC)


def expected(rows, granularities=G):
    """What the library makes of all rows of a series at once."""
    made = {}
    for name in {each["instrument"] for each in rows}:
        own = [r for r in rows if r["instrument"] == name and r["time"] < UNTIL]
        piece = piece_of(table(own), granularities, UNTIL)
        made[name] = named(tick_bars([piece], granularities), "oanda-ticks")
    return made


def run(home, *arguments):
    settings = Settings(home=home, venvs=VENVS)
    return list(ticks_to_bars(settings, [f"--last={LAST}", *arguments]))


def write(folder, rows, files, seed):
    """Write the rows over several files, in no order, with small row groups."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    for number in range(files):
        path = folder / f"part-{number}.parquet"
        pq.write_table(table(shuffled[number::files]), path, row_group_size=97)


@pytest.mark.parametrize(("files", "seed"), [(1, 1), (7, 2)])
def test_bars_from_files_are_the_librarys_bars_however_they_are_cut(tmp_path, files, seed):
    rows = [r for name in NAMES for r in busy(name, count=1500, mean_s=200)]
    write(tmp_path / "in", rows, files, seed)
    granularities = ",".join(g.value for g in G)
    *reports, last = run(
        tmp_path, f"--ticks={tmp_path}/in/*.parquet", f"--granularities={granularities}",
        f"--output={tmp_path}/out",
    )  # fmt: skip
    made = expected(rows)
    assert {(r["instrument"], r["granularity"]) for r in reports} == {
        (name, g.value) for name in NAMES for g in G
    }
    for report in reports:
        granularity, own = Granularity(report["granularity"]), made[report["instrument"]]
        found = pq.read_table(report["file"])
        assert found.num_rows == report["bars"]
        assert found.equals(own.tables[granularity]), report
        quality = pq.read_table(report["file"].replace(".parquet", "_quality.parquet"))
        rows_of = {(r["check_name"], r["start"]) for r in quality.to_pylist()}
        wanted = findings(own, granularity, "fx", UNTIL, UNTIL)
        assert rows_of == {(r["check_name"], r["start"]) for r in wanted}
    assert all(last["counters"][f"{g.value}.bars"] > 3 for g in G)
    assert all(last["counters"][f"{g.value}.left_out"] > 0 for g in G)
    for name in ("used", "repeated", "untradeable", "empty_book", "marks"):
        assert last["counters"][name] == sum(getattr(m.count, name) for m in made.values())


def test_a_file_that_holds_no_ticks_is_named(tmp_path):
    (tmp_path / "bad.parquet").write_bytes(b"no ticks")
    with pytest.raises(DataError, match=r"bad\.parquet holds no ticks"):
        run(tmp_path, f"--ticks={tmp_path}/bad.parquet", f"--output={tmp_path}/out")
    nameless = table([row(UNTIL, 1)]).drop_columns("event_id")
    pq.write_table(nameless, tmp_path / "nameless.parquet")
    with pytest.raises(DataError, match=r"nameless\.parquet holds no ticks: the column event_id"):
        run(tmp_path, f"--ticks={tmp_path}/nameless.parquet", f"--output={tmp_path}/out")
    with pytest.raises(DataError, match="holds no ticks of oanda"):
        run(tmp_path, f"--ticks={tmp_path}/none-*.parquet", f"--output={tmp_path}/out")


def test_nothing_is_asked_of_a_host_out_there(tmp_path, monkeypatch):
    """Beam's default runner would fetch a program from GitHub first, and wait without an end."""
    Environments(VENVS).ensure(BEAM)
    write(tmp_path / "in", busy("EUR_USD", count=20, mean_s=200), files=1, seed=3)
    asked = []

    class HangUp(BaseRequestHandler):
        def handle(self):
            asked.append(self.request.recv(1000))

    with TCPServer(("127.0.0.1", 0), HangUp) as outside:
        Thread(target=outside.serve_forever, daemon=True).start()
        monkeypatch.setenv("https_proxy", "http://{}:{}".format(*outside.server_address))
        run(tmp_path, f"--ticks={tmp_path}/in/*.parquet", f"--output={tmp_path}/out")
        outside.shutdown()
    assert asked == []


@pytest.mark.emulators
def test_stored_ticks_become_stored_bars_once(settings):
    own = settings.model_copy(update={"security_master": "batch_master", "risk": "batch_risk"})
    rows = [r for name in NAMES[:2] for r in busy(name, count=1500, mean_s=200)]
    rows += [r | {"event_id": f"{r['event_id']}-x"} for r in [row(UNTIL, 1), mark(UNTIL, "back")]]
    with Desk(own) as desk:
        apply_tables(desk.warehouse, schemas.all_tables().values())
        tick = schemas.table("security_master", "tick")
        # As the archiver stores them: a repeated event is one row, unless its key differs.
        once = {(r["instrument"], r["time"], r["event_id"]): r for r in reversed(rows)}
        desk.warehouse.merge(tick, table(once.values()), insert_only=True)
        *first, _ = ticks_to_bars(own, [f"--last={LAST}"])
        *again, _ = ticks_to_bars(own, [f"--last={LAST}"])
        made = expected(list(once.values()), STORED)
        for name in NAMES[:2]:
            for granularity in STORED:
                found = desk.security_master.bars(name, granularity.value, "oanda-ticks")
                assert found.equals(made[name].tables[granularity]), (name, granularity)
                wanted = findings(made[name], granularity, "fx", UNTIL, UNTIL)
                where = {"instrument": name, "granularity": granularity.value}
                kept = desk.security_master.rows("data_quality", where)
                assert {(r["check_name"], r["start"], r["severity"]) for r in kept} == {
                    (r["check_name"], r["start"], r["severity"]) for r in wanted
                }
        assert sum(r["inserted"] for r in first) == sum(r["bars"] for r in first) > 0
        assert {(r["inserted"], r["updated"]) for r in again} == {(0, 0)}
        assert desk.security_master.bars(NAMES[0], "M1", "oanda").num_rows == 0
