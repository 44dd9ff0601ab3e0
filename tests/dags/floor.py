"""A desk with everything a DAG may want: a simulated OANDA, history, a Cloud Run, one Airflow."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from dags.world import CloudRun, Inside
from oandapyV20.endpoints.orders import OrderCreate
from pydantic import SecretStr

from mbats import schemas
from mbats.desk import Desk
from mbats.gcp.batch import table_of
from mbats.gcp.connection import subscriber_client
from mbats.gcp.messages import RISK_EVENTS
from mbats.gcp.publisher import Publisher
from mbats.local.archiver import Archiver
from mbats.local.oanda_sim import AccountSpec, Running, SimConfig, serve, spec_of
from mbats.local.ports import choose
from mbats.vendors.download import Request, download
from mbats.vendors.oanda_client import session
from mbats.vendors.registry import open_vendor

OPEN = datetime(2026, 11, 27, 15, tzinfo=UTC)  # a Friday
PAPER, TRADED, PROVEN = "000-001-0000001-001", "101-001-1234567-001", "101-001-1234567-002"
BOTS = {PAPER: "bot-paper", TRADED: "bot-one"}
TOKEN = "token-of-the-test"


@contextmanager
def broker() -> Iterator[Running]:
    """Run a simulated OANDA that stands still in an open market and wants its token."""
    config = SimConfig(
        start=OPEN,
        speed=0,
        token=TOKEN,
        history_days=30,
        walk_step_ms=5_000,
        accounts=(AccountSpec(id=TRADED), AccountSpec(id=PROVEN)),
        specs=tuple(spec_of(name) for name in ("EUR_USD", "GBP_USD")),
    )
    with serve(config) as running:
        yield running


def settings_of(running: Running) -> dict[str, object]:
    """Return the settings that lead a desk to the broker."""
    return {
        "oanda_environment": "sim",
        "oanda_endpoint": running.url,
        "oanda_token": SecretStr(TOKEN),
    }


@dataclass
class Floor:
    """The desk of the DAGs, as a test looks at it."""

    desk: Desk
    airflow: Inside
    cloud_run: CloudRun

    def run(self, *asked, **more) -> Mapping[str, object]:
        """Run a DAG to its end; it and all its tasks must have ended well."""
        ran = self.airflow.run(*asked, **more)
        well = {ran["state"], *ran["tasks"].values()} == {"success"}
        assert well, (ran["state"], ran["tasks"], ran["log"][-5000:])
        return ran

    def rows(self, table: str, where: str = "TRUE", **parameters) -> list[Mapping[str, object]]:
        """Return rows of a table of `risk`."""
        target = self.desk.warehouse.target(schemas.table("risk", table))
        return self.desk.warehouse.query(f"SELECT * FROM `{target}` WHERE {where}", parameters)

    def load(self, instrument: str) -> None:
        """Store the ECB's rates of an instrument."""
        vendor = open_vendor("ecb", self.desk.settings)
        wanted = [Request(instrument, "D")]
        (loaded,) = download(vendor, self.desk.security_master, wanted, datetime.now(UTC))
        assert not loaded.failed, loaded.error

    def store(self, table: str, *rows: Mapping[str, object]) -> None:
        """Store rows in a table of `risk`."""
        schema = schemas.table("risk", table)
        self.desk.warehouse.merge(schema, table_of(schema, rows))

    def buy_by_hand(self, account: str) -> None:
        """Trade at the broker as nobody of the desk would."""
        api = session(self.desk.settings)
        order = {"type": "MARKET", "instrument": "EUR_USD", "units": "100"}
        answer = api.request(OrderCreate(account, {"order": order}))
        assert "orderFillTransaction" in answer, answer

    @contextmanager
    def without_broker(self) -> Iterator[None]:
        """Let bots find no broker within the block."""
        nobody = {"MBATS_OANDA_ENDPOINT": f"http://127.0.0.1:{choose([], [])}"}
        self.cloud_run.make_bots(BOTS, nobody)
        try:
            yield
        finally:
            self.cloud_run.make_bots(BOTS)

    @contextmanager
    def archived(self) -> Iterator[None]:
        """Store what is published on risk-events within the block, as a subscription would."""
        settings = self.desk.settings
        root = f"projects/{settings.project}"
        name = f"every-dag-{datetime.now(UTC):%H%M%S%f}"
        with subscriber_client(settings) as client, ExitStack() as closing:
            path = f"{root}/subscriptions/{name}"
            client.create_subscription(name=path, topic=f"{root}/topics/{RISK_EVENTS}")
            closing.callback(client.delete_subscription, subscription=path)
            publisher = Publisher(settings)
            closing.callback(publisher.close)
            yield
            Archiver(
                settings.project, client, publisher, self.desk.warehouse,
                lambda *_: None, {RISK_EVENTS: name},
            ).drain()  # fmt: skip
