"""The way to Google ends here: stock clients reach Cloud Run, and nothing else."""

import json
import os
import socket
import ssl
import subprocess
import sys

import pytest
from local.cloud_run.conftest import START, clients_of

from mbats.local.cloud_run import certificates
from mbats.local.cloud_run.clients import client_env

# A client that knows nothing of a local stack: the address it asks is Google's own.
STOCK = """
import sys
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2
client = run_v2.JobsClient(credentials=AnonymousCredentials(), transport=sys.argv[1])
name = "projects/mbats-test/locations/europe-west1/jobs/" + sys.argv[2]
execution = client.run_job(name=name).result(timeout=60)
print(execution.name, execution.succeeded_count)
"""
ASYNC = """
import asyncio, sys
from google.auth.credentials import AnonymousCredentials
from google.cloud import run_v2
from google.longrunning import operations_pb2
async def main():
    client = run_v2.JobsAsyncClient(credentials=AnonymousCredentials())
    name = "projects/mbats-test/locations/europe-west1/jobs/" + sys.argv[1]
    started = await client.run_job(name=name)
    while True:
        request = operations_pb2.GetOperationRequest(name=started.operation.name)
        operation = await client.get_operation(request)
        if operation.done:
            break
    print(operation.error.code, operation.error.message)
asyncio.run(main())
"""


@pytest.fixture
def environ(cloud_run):
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    return kept | client_env(cloud_run.addresses, "mbats-test")


def run(program, environ, *words):
    command = [sys.executable, "-c", program, *words]
    return subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_googles_client_runs_a_job_at_googles_address(cloud_run, environ, transport):
    clients_of(cloud_run.addresses, "grpc").create("greet", "say=x")
    done = run(STOCK, environ, transport, "greet")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "1"
    assert cloud_run.refused == []


@pytest.mark.parametrize("transport", ["grpc", "rest"])
def test_a_failure_reaches_googles_client_as_aborted(cloud_run, environ, transport):
    clients_of(cloud_run.addresses, "grpc").create("fail", "exit=3")
    done = run(STOCK, environ, transport, "fail")
    assert "Aborted" in done.stderr
    assert "failed with exit code: 3" in done.stderr


def test_what_a_deferred_operator_sees(cloud_run, environ):
    """Airflow's trigger polls GetOperation with the async client and looks at its error."""
    clients_of(cloud_run.addresses, "grpc").create("fail", "exit=4")
    done = run(ASYNC, environ, "fail")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("10 Task fail-")


REQUESTS = "import requests, sys; print(requests.get(sys.argv[1], timeout=30).text)"
URLLIB = "import urllib.request, sys; print(urllib.request.urlopen(sys.argv[1]).read())"
GRPC = """
import grpc, sys
channel = grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials())
channel.unary_unary("/any/Method")(b"", timeout=30)
"""


@pytest.mark.parametrize(
    ("program", "target", "refused"),
    [
        (REQUESTS, "https://storage.googleapis.com/b", "CONNECT storage.googleapis.com:443"),
        (REQUESTS, "https://oauth2.googleapis.com/token", "CONNECT oauth2.googleapis.com:443"),
        (REQUESTS, "https://run.googleapis.com.evil.example/", None),
        (REQUESTS, "https://xrun.googleapis.com/", "CONNECT xrun.googleapis.com:443"),
        (REQUESTS, "https://run.googleapis.com:8443/", "CONNECT run.googleapis.com:8443"),
        (URLLIB, "https://bigquery.googleapis.com/", "CONNECT bigquery.googleapis.com:443"),
        (URLLIB, "http://metadata.google.internal/x", "GET http://metadata.google.internal/x"),
        (GRPC, "pubsub.googleapis.com:443", "CONNECT pubsub.googleapis.com:443"),
        (GRPC, "bigquerystorage.googleapis.com:443", "CONNECT bigquerystorage.googleapis.com:443"),
    ],
)
def test_every_other_host_is_refused_by_name(cloud_run, environ, program, target, refused):
    done = run(program, environ, target)
    assert done.returncode != 0
    wanted = refused or "CONNECT run.googleapis.com.evil.example:443"
    assert set(cloud_run.refused) == {wanted}
    assert "403" in done.stderr


def test_a_loopback_address_is_reached_directly(cloud_run, environ):
    url = f"http://{cloud_run.addresses.http}/v2/projects/p/locations/europe-west1/jobs"
    assert json.loads(run(REQUESTS, environ, url).stdout) == {}
    assert cloud_run.refused == []


@pytest.mark.parametrize("noise", [b"", b"\x00\xff\r\n\r\n", b"x" * 40_000, b"CONNECT\r\n\r\n"])
def test_noise_neither_passes_nor_stops_the_proxy(cloud_run, environ, noise):
    host, port = cloud_run.addresses.proxy.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as there:
        there.sendall(noise)
        there.shutdown(socket.SHUT_WR)
        try:
            answer = there.recv(100)
        except ConnectionResetError:
            answer = b""
    assert answer == b"" or answer.startswith(b"HTTP/1.1 403")
    clients_of(cloud_run.addresses, "grpc").create("greet", "say=x")
    assert run(STOCK, environ, "grpc", "greet").returncode == 0


def test_the_certificate_vouches_for_google_alone(tmp_path):
    made = certificates.ensure(tmp_path, START)
    assert made.key.stat().st_mode & 0o077 == 0
    assert (tmp_path / "ca-key.pem").stat().st_mode & 0o077 == 0
    again = made.authority.read_bytes()
    assert certificates.ensure(tmp_path, START).authority.read_bytes() == again
    context = ssl.create_default_context(cafile=made.authority)
    [authority] = context.get_ca_certs()
    assert authority["subject"] == ((("commonName", "MBATS local Cloud Run"),),)
    later = START.replace(year=START.year + 1)
    assert certificates.ensure(tmp_path, later).authority.read_bytes() != again


def test_a_damaged_authority_is_made_anew(tmp_path):
    made = certificates.ensure(tmp_path, START)
    made.authority.write_text("not a certificate")
    certificates.ensure(tmp_path, START)
    ssl.create_default_context(cafile=made.authority)
