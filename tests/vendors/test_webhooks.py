"""Webhooks: the three forms, over a loopback server; an address never shows."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mbats.errors import ConfigError, NotReadyError
from mbats.vendors.webhooks import parse_webhooks


@pytest.fixture
def people():
    """A server that stands for Slack and the others: ``taken`` holds (path, body)."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.taken.append((self.path, body))
            self.send_response(server.status)
            self.end_headers()

        def log_message(self, *_):
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.taken, server.status = [], 200
    server.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_each_kind_gets_the_form_it_knows(people):
    text = f"slack {people.url}/hook\ntelegram {people.url}/bot/sendMessage?chat_id=42\n\n"
    for webhook in parse_webhooks(text + f"email {people.url}/mail"):
        webhook.post("CRITICAL X\nmore")

    assert people.taken == [
        ("/hook", {"text": "CRITICAL X\nmore"}),
        (
            "/bot/sendMessage",
            {"chat_id": "42", "text": "CRITICAL X\nmore", "disable_web_page_preview": True},
        ),
        ("/mail", {"subject": "MBATS: CRITICAL X", "text": "CRITICAL X\nmore"}),
    ]


def test_an_address_alone_is_slacks(people):
    (webhook,) = parse_webhooks(people.url)

    assert (webhook.kind, webhook.name) == ("slack", "slack-1")


@pytest.mark.parametrize("status", [302, 400, 404, 429, 500])
def test_what_is_not_taken_is_an_error_without_the_address(people, status):
    people.status = status
    (webhook,) = parse_webhooks(f"{people.url}/secret-path")

    with pytest.raises(NotReadyError, match=f"status {status}|slack-1") as caught:
        webhook.post("x")

    assert "secret-path" not in str(caught.value)
    assert "secret-path" not in repr(webhook)


def test_a_webhook_that_is_down_is_an_error_without_the_address():
    (webhook,) = parse_webhooks("http://127.0.0.1:9/secret-path")

    with pytest.raises(NotReadyError) as caught:
        webhook.post("x")

    assert "secret-path" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "text",
    [
        "http://example.com/hook",
        "pager https://example.com/hook",
        "telegram https://example.com/bot",
        "nonsense",
    ],
)
def test_what_is_no_webhook_is_refused_without_being_repeated(text):
    with pytest.raises(ConfigError, match="Line 1") as caught:
        parse_webhooks(text)

    assert text.split()[-1] not in str(caught.value)
