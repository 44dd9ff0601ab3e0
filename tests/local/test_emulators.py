"""The real emulators: what survives a crash, and that Google's own clients join."""

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import psutil
import pytest
from google.api_core.exceptions import PreconditionFailed
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from mbats.config import Settings
from mbats.local import processes, topology
from mbats.local.emulators import BUCKETS
from mbats.local.exports import bq_line, exports
from mbats.local.stack import SERVICES, Stack

NAMES = [each.name for each in SERVICES]

pytestmark = pytest.mark.emulators


def bigquery_client(settings):
    return bigquery.Client(
        project=settings.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.bigquery_endpoint},
    )


def storage_client(settings):
    return storage.Client(
        project=settings.project,
        credentials=AnonymousCredentials(),
        client_options={"api_endpoint": settings.storage_endpoint},
    )


@pytest.fixture
def own_stack(stack, tmp_path):
    """A stack that may be killed without harm to the session's; its environments are shared."""
    made = Stack(stack.settings.model_copy(update={"home": tmp_path / ".mbats"}), any_ports=True)
    yield made
    made.down()


def test_data_survives_when_every_emulator_is_killed(own_stack):
    settings = own_stack.up().settings
    before = {each.service: each.addresses for each in own_stack.status()}
    client = bigquery_client(settings)
    client.query_and_wait("CREATE SCHEMA fx")
    client.query_and_wait("CREATE TABLE fx.bar (id INT64, price NUMERIC)")
    client.query_and_wait("INSERT INTO fx.bar VALUES (1, NUMERIC '1.08745')")
    blob = storage_client(settings).bucket(settings.bucket("state")).blob("lease")
    blob.upload_from_string(b"held", if_generation_match=0)

    for each in own_stack.status():
        assert each.pid, "psutil takes None for this very process"
        process = psutil.Process(each.pid)
        process.kill()
        process.wait(60)
    assert {each.condition for each in own_stack.status()} == {"crashed"}

    again = own_stack.up()
    assert set(again.started) == set(NAMES)
    assert {each.service: each.addresses for each in own_stack.status()} == before
    rows = bigquery_client(settings).query_and_wait("SELECT id, price FROM fx.bar")
    assert [tuple(row) for row in rows] == [(1, Decimal("1.08745"))]
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string(b"stolen", if_generation_match=0)
    assert blob.download_as_bytes() == b"held"
    assert subscriptions(settings) >= expected_subscriptions(settings)  # and those that push


def subscriptions(settings):
    from google.cloud import pubsub_v1

    with pubsub_client(settings, pubsub_v1.SubscriberClient) as subscriber:
        found = subscriber.list_subscriptions(project=f"projects/{settings.project}")
        return {each.name for each in found}


def expected_subscriptions(settings):
    names = [t.dead_letter for t in topology.TOPICS]
    names += [s.name for t in topology.TOPICS for s in t.subscriptions]
    return {f"projects/{settings.project}/subscriptions/{name}" for name in names}


def pubsub_client(settings, kind):
    import grpc

    transport = kind.get_transport_class("grpc")
    return kind(transport=transport(channel=grpc.insecure_channel(settings.pubsub_endpoint)))


def test_down_leaves_no_process_of_the_stack(own_stack):
    own_stack.up()
    assert set(processes.tagged(own_stack.home)) == set(NAMES)
    own_stack.down()
    assert processes.tagged(own_stack.home) == {}
    assert {each.condition for each in own_stack.status()} == {"stopped"}


def test_the_buckets_of_the_desk_are_there(settings):
    found = {bucket.name for bucket in storage_client(settings).list_buckets()}
    assert {settings.bucket(name) for name in BUCKETS} <= found


def test_every_emulator_listens_on_the_loopback_interface_only(stack):
    for each in stack.status():
        for member in processes.family(psutil.Process(each.pid)):
            for connection in member.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN:
                    assert connection.laddr.ip in ("127.0.0.1", "::ffff:127.0.0.1"), each.service


JOINS = """
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, pubsub_v1, storage
assert list(bigquery.Client(credentials=AnonymousCredentials()).query_and_wait("SELECT 1"))
assert list(storage.Client().list_buckets())
import os
topic = f"projects/{os.environ['GOOGLE_CLOUD_PROJECT']}/topics/control"
print(pubsub_v1.PublisherClient().publish(topic, b"hello").result(timeout=30))
"""


def test_google_clients_join_with_nothing_but_the_exports(stack, tmp_path):
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **exports(stack, {})}
    ran = subprocess.run(
        [sys.executable, "-c", JOINS],
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip().isdigit()


@pytest.mark.skipif(not shutil.which("bq"), reason="`bq` of the Google Cloud SDK is not here")
def test_bq_joins_with_the_line_that_env_prints(settings, tmp_path):
    line = bq_line(settings).removesuffix(" ls") + " query --use_legacy_sql=false --format=json"
    ran = subprocess.run(
        [*line.split(), "SELECT 41 + 1 AS n"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == [{"n": "42"}]


def test_the_command_line_starts_and_stops_a_stack_of_its_own(stack, tmp_path):
    home = tmp_path / "home" / ".mbats"
    environ = {name: v for name, v in os.environ.items() if not name.startswith("MBATS_")}
    environ |= {"MBATS_HOME": str(home), "MBATS_VENVS": str(stack.site.environments.folder)}

    def mbats(*words):
        command = [str(Path(sys.executable).with_name("mbats")), *words, "--json"]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    try:
        assert mbats("up")["started"] == NAMES
        assert {row["from"] for row in mbats("config", "show") if "grpc" in row["setting"]} == {
            str(home / "stack.json")
        }
        assert [f for f in mbats("doctor") if f["level"] == "wrong"] == []
    finally:
        assert mbats("down")["stopped"] == sorted(NAMES)
    assert processes.tagged(Settings(home=home).home.resolve()) == {}
