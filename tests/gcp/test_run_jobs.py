"""Starting a Cloud Run job: what is asked, and what is made of the answer."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from mbats.errors import NotReadyError
from mbats.gcp.run_jobs import run_job

JOB = "projects/p/locations/europe-west1/jobs/halt"


@pytest.fixture
def cloud_run():
    """A server that stands for Cloud Run: what it was ``asked``, its ``status``."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.asked.append((self.path, body))
            answer = json.dumps({"name": "operations/1", "metadata": {"name": f"{JOB}/e-1"}})
            self.send_response(server.status)
            self.end_headers()
            self.wfile.write(answer.encode())

        def log_message(self, *_):
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.status = [], 200
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def run(server, *args):
    with requests.Session() as session:
        session.trust_env = False
        return run_job(JOB, args, session, server.url)


def test_a_job_is_started_with_other_arguments_and_its_execution_named(cloud_run):
    assert run(cloud_run, "flatten", "--yes") == f"{JOB}/e-1"

    ((path, body),) = cloud_run.asked
    assert path == f"/v2/{JOB}:run"
    assert body == {"overrides": {"containerOverrides": [{"args": ["flatten", "--yes"]}]}}


@pytest.mark.parametrize("status", [403, 404, 429, 500])
def test_a_job_that_is_not_started_is_an_error(cloud_run, status):
    cloud_run.status = status

    with pytest.raises(NotReadyError, match=f"status {status}"):
        run(cloud_run, "flatten")


def test_a_cloud_run_that_does_not_answer_is_an_error(cloud_run):
    cloud_run.url = "http://127.0.0.1:9"

    with pytest.raises(NotReadyError):
        run(cloud_run, "flatten")
