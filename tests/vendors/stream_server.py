"""A server of scripted HTTP streams: one script a connection, chunked as OANDA sends."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HOLD = "hold"  # say nothing more until the server is released
CUT = "cut"  # close in the middle of a chunk


def refused(status, body="{}"):
    return ("status", status, body)


class ScriptedServer(ThreadingHTTPServer):
    """Serves ``scripts`` one after the other, then holds every further connection silently.

    A script is a list of messages (dict: a line of JSON; bytes: as they are), HOLD or CUT; a
    script without HOLD or CUT ends cleanly. ``refused(...)`` in place of a script refuses.
    """

    daemon_threads = True

    def __init__(self, scripts):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scripts = list(scripts)
        self.paths = []
        self.lock = threading.Lock()
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def next_script(self, path):
        with self.lock:
            self.paths.append(path)
            return self.scripts.pop(0) if self.scripts else [HOLD]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Keep quiet."""

    def do_GET(self):
        script = self.server.next_script(self.path)
        self.close_connection = True
        if isinstance(script, tuple):
            _, status, body = script
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())
            return
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._play(script)

    def _play(self, script):
        for step in script:
            if step == HOLD:
                self.server.released.wait(60)
            elif step == CUT:
                self.wfile.write(b"ff\r\n{half")
                self.wfile.flush()
                return
            else:
                line = step if isinstance(step, bytes) else json.dumps(step).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


@contextmanager
def serving(*scripts):
    server = ScriptedServer(scripts)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
