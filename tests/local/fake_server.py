"""A stand-in for an emulator: python fake_server.py PORT BEHAVIOUR."""

import http.server
import signal
import subprocess
import sys
import time


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    allow_reuse_address = True


def main(port: int, behaviour: str) -> None:
    if behaviour == "broken":
        sys.exit("no room on the disk")
    if behaviour == "silent":
        time.sleep(600)
    if behaviour == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if behaviour == "parent":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Server(("127.0.0.1", port), Answer).serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
