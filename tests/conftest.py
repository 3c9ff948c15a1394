"""Options of the test run, and servers that do as they are told."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

try:
    from hypothesis import settings
except ImportError:  # the environment of vLLM's tests goes without
    pass
else:  # the same examples every time, and no limit on seconds: a busy machine is no failure
    settings.register_profile("lmgames", deadline=None, derandomize=True)
    settings.load_profile("lmgames")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite tests/golden/ instead of comparing with it")


class Server(ThreadingHTTPServer):
    """Answers on loopback with what `respond(path, body)` gives: an object, a (status, object), or bytes sent as they are.

    Bytes are the whole of the answer, its status line included. `asked` holds (path, body, headers) of each request.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, respond):
        super().__init__(("127.0.0.1", 0), Handler)
        self.respond = respond
        self.asked = []
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def handle_error(self, *_):  # clients that give up are part of some tests
        pass


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        self.answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def answer(self, body):
        path = self.path.removeprefix("/v1")
        self.server.asked.append((path, body, dict(self.headers)))
        given = self.server.respond(path, body)
        if isinstance(given, bytes):
            self.wfile.write(given)
            return
        status, content, *headers = given if isinstance(given, tuple) else (200, given)
        content = content if isinstance(content, str) else json.dumps(content)
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content.encode())))
        self.end_headers()
        self.wfile.write(content.encode())


@pytest.fixture
def serve():
    """`serve(respond)` starts a `Server`, which stops with the test."""
    started = []

    def start(respond):
        started.append(Server(respond))
        return started[-1]

    yield start
    for server in started:
        server.shutdown()
        server.server_close()
