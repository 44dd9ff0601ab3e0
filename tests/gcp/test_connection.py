import socket

import pytest

from mbats.config import Settings
from mbats.desk import Desk
from mbats.errors import NotReadyError
from mbats.gcp import connection, warehouse


def test_the_local_profile_without_a_stack_never_reaches_for_google(tmp_path):
    with Desk(Settings(home=tmp_path)) as desk:
        for room in ("security_master", "risk_store", "objects"):
            with pytest.raises(NotReadyError, match="No local") as caught:
                getattr(desk, room)
            assert "mbats up" in caught.value.mend


def test_a_refused_port_is_an_error_at_once_and_not_after_ten_minutes(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        settings = Settings(
            home=tmp_path,
            bigquery_endpoint=f"http://{address}",
            bigquery_grpc=address,
            storage_endpoint=f"http://{address}",
        )
        with Desk(settings) as desk:
            for room in ("security_master", "objects"):
                with pytest.raises(NotReadyError, match="does not answer") as caught:
                    getattr(desk, room)
                assert address in caught.value.tried[0]
                assert caught.value.mend == "mbats up"


@pytest.fixture
def silent(tmp_path):
    """Settings of emulators that take every connection and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        yield Settings(
            home=tmp_path,
            bigquery_endpoint=f"http://{address}",
            bigquery_grpc=address,
            storage_endpoint=f"http://{address}",
        )


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "ask",
    [
        lambda desk: desk.warehouse.query("SELECT 1"),
        lambda desk: desk.warehouse.execute("DELETE FROM t WHERE TRUE"),
        lambda desk: desk.security_master.bars("EUR_USD", "D", "test"),
    ],
    ids=["query", "change", "read"],
)
def test_an_emulator_that_hangs_is_an_error_and_not_waited_for_for_ever(silent, monkeypatch, ask):
    monkeypatch.setattr(connection, "LOCAL_SECONDS", 0.3)
    monkeypatch.setattr(warehouse, "LOCAL_SECONDS", 0.3)
    with Desk(silent) as desk, pytest.raises(NotReadyError, match="answer"):
        ask(desk)
