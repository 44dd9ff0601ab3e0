import socket

import pytest

from mbats.config import Settings
from mbats.desk import Desk
from mbats.errors import NotReadyError


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
