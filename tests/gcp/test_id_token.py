"""ID tokens for MLflow, from a metadata server on loopback that stands for Google's."""

import base64
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from google.auth import exceptions

from mbats.errors import ConfigError, NotReadyError
from mbats.gcp.id_token import IdTokenAuth, IdTokenAuthProvider

MLFLOW = "https://mlflow-1.europe-west1.run.app"


def part(document):
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


class Metadata(BaseHTTPRequestHandler):
    """Google's metadata server, as far as ID tokens go; it writes down what it was asked."""

    def do_GET(self):
        asked = urlsplit(self.path)
        if asked.path.endswith("/identity"):
            (audience,) = parse_qs(asked.query)["audience"]
            self.server.audiences.append(audience)
            claims = {"aud": audience, "exp": int(time.time()) + self.server.lives_seconds}
            count = part({"signature": len(self.server.audiences)})
            body = f"{part({'alg': 'none'})}.{part(claims)}.{count}"
        else:
            body = '{"email": "bot@my-project.iam.gserviceaccount.com"}'
        json_asked = body.startswith("{")
        self.send_response(200)
        self.send_header("Metadata-Flavor", "Google")
        self.send_header("Content-Type", "application/json" if json_asked else "application/text")
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *words):
        pass


@contextmanager
def metadata_server(lives_seconds):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Metadata)
    server.audiences, server.lives_seconds = [], lives_seconds
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ASK_TWICE = """
import json, requests
from importlib.metadata import entry_points
(found,) = entry_points(group="mlflow.request_auth_provider", name="gcp-id-token")
auth = found.load()().get_auth()
said = []
for path in ("/api/a", "/api/b"):
    request = requests.Request("GET", MLFLOW + path, auth=auth).prepare()
    said.append(request.headers["Authorization"])
print(json.dumps(said))
"""


def ask_twice(server):
    """Sign two requests in a process of its own: google-auth reads its variables once."""
    address = f"127.0.0.1:{server.server_address[1]}"
    environ = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("GOOGLE_", "GCE_"))},
        "GCE_METADATA_HOST": address,
        "GCE_METADATA_IP": address,
        "HOME": "/nonexistent",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    code = f"MLFLOW = {MLFLOW!r}\n{ASK_TWICE}"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_token_for_the_server_that_is_asked_is_fetched_once():
    with metadata_server(lives_seconds=3600) as server:
        first, second = ask_twice(server)
    assert server.audiences == [MLFLOW]
    assert first == second
    assert first.startswith("Bearer ")


def test_a_token_that_is_about_to_expire_is_fetched_anew():
    with metadata_server(lives_seconds=60) as server:
        first, second = ask_twice(server)
    assert server.audiences == [MLFLOW, MLFLOW]
    assert first != second


class Given:
    """Credentials as google-auth hands them out."""

    def __init__(self, audience):
        self.token = None
        self.audience = audience

    @property
    def valid(self):
        return self.token is not None

    def refresh(self, request):
        self.token = f"for {self.audience}"


def signed(auth, url):
    return requests.Request("GET", url, auth=auth).prepare().headers["Authorization"]


def test_each_server_gets_a_token_of_its_own():
    auth = IdTokenAuth(lambda audience, request: Given(audience))
    assert signed(auth, f"{MLFLOW}/api/2.0/mlflow/runs") == f"Bearer for {MLFLOW}"
    assert signed(auth, "https://other.run.app/x?y=1") == "Bearer for https://other.run.app"


def test_no_token_goes_over_an_open_line():
    auth = IdTokenAuth(lambda audience, request: Given(audience))
    with pytest.raises(ConfigError, match="anybody could read it"):
        signed(auth, "http://mlflow.example.com/api")
    assert signed(auth, "http://127.0.0.1:5000/api") == "Bearer for http://127.0.0.1:5000"


def test_without_an_identity_it_says_what_to_do():
    def none(audience, request):
        raise exceptions.DefaultCredentialsError("no credentials")

    with pytest.raises(NotReadyError, match="no credentials") as caught:
        signed(IdTokenAuth(none), MLFLOW)
    assert "MLFLOW_TRACKING_TOKEN" in caught.value.mend


def test_the_provider_goes_by_the_name_that_terraform_gives():
    provider = IdTokenAuthProvider()
    assert provider.get_name() == "gcp-id-token"
    assert provider.get_auth() is provider.get_auth()
