"""Runs each image's entry point against the emulators and looks at what it did."""

import json
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from queue import SimpleQueue

import pyarrow.parquet as pq

from mbats import schemas
from mbats.config import SECRETS, Settings
from mbats.desk import Desk
from mbats.gcp.tables import apply_tables
from mbats.gcp.tickbus import TickSubscription
from mbats.local import ports
from mbats.local.emulators import EMULATOR_SERVICES
from mbats.local.oanda_sim import SimConfig, serve
from mbats.local.stack import Stack
from mbats.market.granularity import Granularity
from mbats.market.tick import Tick
from mbats.market.tick_bars import named, piece_of, tick_bars
from tests.images.building import ROOT
from tests.images.running import Container, answer, listens
from tests.market.made_ticks import busy
from tests.market.made_ticks import table as tick_table

HOST = "127.0.0.1"
INSTRUMENT = "EUR_USD"
OPEN = datetime(2026, 9, 23, 14, tzinfo=UTC)  # a Wednesday: prices flow
LAST_DAY, UNTIL = "2026-03-12", datetime(2026, 3, 12, 21, tzinfo=UTC)

REGISTER = """
import mlflow, pandas as pd

class Twice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["x"] * 2

client = mlflow.MlflowClient()
with mlflow.start_run():
    info = mlflow.pyfunc.log_model(
        name="model", python_model=Twice(), registered_model_name="signals",
        input_example=pd.DataFrame({"x": [1.0]}), pip_requirements=[])
client.set_registered_model_alias("signals", "champion", info.registered_model_version)
"""


class House:
    """What the images are run against: the emulators, started when they are first asked for."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        self.folder = folder
        self.opened = opened

    @cached_property
    def settings(self) -> Settings:
        """Settings that point at the emulators."""
        made = Settings(
            home=self.folder / ".mbats", venvs=ROOT / ".mbats" / "venvs", project="mbats-images"
        )
        stack = Stack(made, services=EMULATOR_SERVICES, any_ports=True)
        self.opened.callback(stack.down)
        stack.up()
        return stack.running_settings()

    @cached_property
    def environ(self) -> Mapping[str, str]:
        """The environment that points an image of the desk at the emulators."""
        names = ("project", "bigquery_endpoint", "bigquery_grpc", "storage_endpoint")
        given = {f"MBATS_{n.upper()}": str(getattr(self.settings, n)) for n in names}
        return {
            **given,
            "MBATS_PUBSUB_ENDPOINT": str(self.settings.pubsub_endpoint),
            "NO_PROXY": HOST,
            "no_proxy": HOST,
        }


def run_desk(house: House, desk: Container, folder: Path) -> str:
    """A backtest job writes its rows."""
    environ = house.environ
    desk.finish(["init"], environ)
    desk.finish(["data", "load", "--vendor", "ecb", "--instruments", INSTRUMENT], environ)
    words = ["backtest", "rsi_stochastic", "--instruments", INSTRUMENT, "--from", "2015-01-01"]
    sheet = json.loads(desk.finish([*words, "--json"], environ))["tear_sheet"]
    run_id = Path(sheet).stem
    with Desk(house.settings) as opened:
        result = opened.risk_store.load(run_id)
    rows = {name: len(rows) for name, rows in result.tables.items()}
    assert result.run["status"] == "done", result.run
    assert result.run["git_sha"] == desk.revision, result.run["git_sha"]
    assert all(rows[name] for name in ("fill", "trade", "equity", "performance")), rows
    said = desk.run(["id", "-u"], {}).strip()
    assert said != "0", "it runs as root"
    return f"run {run_id}: {rows['fill']} fills, {rows['trade']} trades in the risk store"


def run_streamer(house: House, streamer: Container, folder: Path) -> str:
    """Prices of a simulated broker reach a subscriber."""
    items: SimpleQueue[object] = SimpleQueue()
    subscription = TickSubscription(house.settings, "images", [INSTRUMENT], items.put)
    subscription.start()
    items.get(timeout=60)  # it listens
    with serve(SimConfig(start=OPEN)) as broker, (folder / "streamer.log").open("w") as log:
        broker_env = {
            "MBATS_OANDA_ENDPOINT": broker.url,
            "MBATS_OANDA_ACCOUNT": broker.account_id,
        }
        with streamer.serving(["--instruments", INSTRUMENT], {**house.environ, **broker_env}, log):
            first = _first_tick(items)
    subscription.delete()
    subscription.stop()
    subscription.join(30)
    lines = (folder / "streamer.log").read_text().splitlines()
    assert json.loads(lines[-1])["event"] == "stopped", lines[-3:]
    return f"{first.instrument} {first.bid}/{first.ask} on the bus; SIGTERM drained it"


def run_preview(house: House, preview: Container, folder: Path) -> str:
    """The page lists the views, and shows one that has rows."""
    port = _port()
    with (folder / "preview.log").open("w") as log:
        words = ["--host", HOST, "--port", str(port)]
        with preview.serving(words, house.environ, log):
            answer(f"http://{HOST}:{port}/health")
            index = answer(f"http://{HOST}:{port}/")
            page = answer(f"http://{HOST}:{port}/view/v_fill")
    assert "/view/v_fill" in index, index[:2000]
    assert "rsi_stochastic" in page, page[:2000]
    assert "data-figure" in page, page[:2000]
    rows = page.count("<tr>") - 1
    return f"{index.count('/view/')} views listed, v_fill shows a chart and {rows} rows"


def run_mlflow(house: House, mlflow: Container, folder: Path) -> str:
    """The tracking server answers, and stays up for the model server."""
    port = _port()
    mlflow.run(["python3", "-c", "import psycopg2, google.cloud.storage"], {})
    words = [
        "server", f"--host={HOST}", f"--port={port}", "--workers=1", "--serve-artifacts",
        "--artifacts-destination=/srv/mlflow/artifacts",
        "--backend-store-uri=sqlite:////srv/mlflow/mlflow.db",
    ]  # fmt: skip
    environ = {"MLFLOW_SERVER_ALLOWED_HOSTS": f"{HOST}:{port}"}
    log = house.opened.enter_context((folder / "mlflow.log").open("w"))
    house.opened.enter_context(mlflow.serving(words, environ, log))
    said = answer(f"http://{HOST}:{port}/health")
    (folder / "tracking").write_text(f"http://{HOST}:{port}")
    return f"/health says {said}"


def run_model_server(house: House, server: Container, folder: Path) -> str:
    """A model that was registered with MLflow answers a prediction."""
    port, tracking = _port(), (folder / "tracking").read_text()
    environ = {
        "MLFLOW_TRACKING_URI": tracking,
        "MODEL_URI": "models:/signals@champion",
        "HOST": HOST,
        "PORT": str(port),
        "NO_PROXY": HOST,
        "no_proxy": HOST,
    }
    with (folder / "model-server.log").open("w") as log, server.serving([], environ, log):
        answer(f"http://{HOST}:{port}/health")
        said = _refusal(f"http://{HOST}:{port}/ping")
        assert "answered 503" in said, f"ready without a model: {said}"
        server.run(["python3", "-c", REGISTER], environ)
        said = answer(f"http://{HOST}:{port}/predict", {"instances": [{"x": 1.5}, {"x": -2.0}]})
    assert json.loads(said) == {"predictions": [3.0, -4.0]}, said
    found = server.run(["python3", "-c", PROVIDERS], {}).split()
    assert "gcp-id-token" in found, found
    return f"models:/signals@champion says {said}"


PROVIDERS = """
from mlflow.tracking.request_auth.registry import _request_auth_provider_registry as known
print(*(provider.get_name() for provider in known))
"""


def run_sql_proxy(house: House, proxy: Container, folder: Path) -> str:
    """It is the proxy, and runs."""
    return proxy.finish(["--version"], {}).strip()


def run_dataflow(house: House, dataflow: Container, folder: Path) -> str:
    """The template's program hands a file of ticks to a worker, whose bars are the library's."""
    granularities = (Granularity.M1, Granularity.D)
    ticks = tick_table(busy(INSTRUMENT, count=1500, mean_s=200))
    pq.write_table(ticks, folder / "ticks.parquet")
    dataflow.copy(folder / "ticks.parquet", "/tmp/ticks.parquet")
    port = _port()
    pool = [
        "python", "-m", "apache_beam.runners.worker.worker_pool_main", f"--service_port={port}",
        *(f"--container_executable={word}" for word in dataflow.entrypoint),
    ]  # fmt: skip
    words = [
        "/opt/google/dataflow/python_template_launcher",
        f"--settings={house.settings.model_dump_json(exclude=set(SECRETS))}",
        "--ticks=/tmp/ticks.parquet", f"--last={LAST_DAY}",
        "--runner=PortableRunner", "--job_endpoint=embed",
        "--environment_type=EXTERNAL", f"--environment_config={HOST}:{port}",
    ]  # fmt: skip
    here = f"{HOST},localhost"  # the runner tells a worker its own name, which is that
    environ = {"NO_PROXY": here, "no_proxy": here}
    with Desk(house.settings) as desk, (folder / "worker.log").open("w") as log:
        apply_tables(desk.warehouse, schemas.all_tables().values())
        with dataflow.running(pool, environ, log):
            listens(HOST, port)
            said = dataflow.run(words, environ)
        vendor = "oanda-ticks"
        wanted = named(tick_bars([piece_of(ticks, granularities, UNTIL)], granularities), vendor)
        for granularity in granularities:
            found = desk.security_master.bars(INSTRUMENT, granularity.value, vendor)
            assert found.equals(wanted.tables[granularity]), (granularity, found.num_rows)
    counters = json.loads(said.splitlines()[-1])["counters"]
    worked = (folder / "worker.log").read_text()
    assert f"Starting worker with command ['{dataflow.entrypoint[0]}'" in worked, worked[-2000:]
    bars = sum(table.num_rows for table in wanted.tables.values())
    return (
        f"{counters['rows']} ticks through {dataflow.entrypoint[0]}: {bars} bars as the library's"
    )


RUNS: Mapping[str, Callable[[House, Container, Path], str]] = {
    "desk": run_desk,
    "streamer": run_streamer,
    "preview": run_preview,
    "mlflow": run_mlflow,
    "model-server": run_model_server,
    "sql-proxy": run_sql_proxy,
    "dataflow": run_dataflow,
}


def _refusal(url: str) -> str:
    try:
        return answer(url)
    except RuntimeError as error:
        return str(error)


def _first_tick(items: SimpleQueue[object]) -> Tick:
    while True:
        item = items.get(timeout=60)
        if isinstance(item, Tick):
            return item


def _port() -> int:
    return ports.choose((), ())
