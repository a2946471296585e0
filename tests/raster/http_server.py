"""HTTP server on loopback with byte ranges and faults."""

from __future__ import annotations

import http.server
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class FaultyServer:
    """Server of the files of a folder.

    Attributes:
        fault: Function from the number of a request, from 1, to its fault: 503, ``'drop'`` (close
            before the response), ``'cut'`` (close in the middle of it), or None.
        delay: Delay of each response, in seconds.
        requests: Method, path and range of each request.
        sent: Number of bytes of responses.
        url: GDAL path of the folder.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.fault: Callable[[int], int | str | None] = lambda number: None
        self.delay = 0.0
        self.requests: list[tuple[str, str, str | None]] = []
        self.sent = 0
        self.url = f'/vsicurl/http://127.0.0.1:{port}'
        self.lock = threading.Lock()


@contextmanager
def serve(folder: Path) -> Iterator[FaultyServer]:
    """Serve a folder inside the block."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'
        wbufsize = 2**16
        disable_nagle_algorithm = True
        faulty: FaultyServer

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.respond(has_body=False)

        def do_GET(self):
            self.respond(has_body=True)

        def respond(self, has_body):
            faulty = self.faulty
            wanted = self.headers.get('Range')
            with faulty.lock:
                faulty.requests.append((self.command, self.path, wanted))
                fault = faulty.fault(len(faulty.requests))
            time.sleep(faulty.delay)
            path = faulty.folder / self.path.partition('?')[0].lstrip('/')
            if fault == 'drop':
                self.close()
                return
            if fault == 503 or not path.is_file():
                self.head(503 if fault == 503 else 404, 0)
                return
            data, total = path.read_bytes(), path.stat().st_size
            match = re.match(r'bytes=(\d+)-(\d+)', wanted or '') if has_body else None
            if match:
                start, end = int(match[1]), min(int(match[2]), total - 1)
                data = data[start : end + 1]
                self.head(206, len(data), f'bytes {start}-{end}/{total}')
            else:
                self.head(200, total)
            if has_body:
                self.wfile.write(data[: len(data) // 2] if fault == 'cut' else data)
                with faulty.lock:
                    faulty.sent += len(data)
            if fault == 'cut':
                self.wfile.flush()
                self.close()

        def head(self, status, length, content_range=''):
            self.send_response(status)
            self.send_header('Accept-Ranges', 'bytes')
            self.send_header('Content-Length', str(length))
            if content_range:
                self.send_header('Content-Range', content_range)
            self.end_headers()

        def close(self):
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

        def handle(self):
            with suppress(OSError):  # a closed connection
                super().handle()

        def finish(self):
            with suppress(OSError):
                super().finish()

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        Handler.faulty = FaultyServer(folder, server.server_address[1])
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield Handler.faulty
        finally:
            server.shutdown()
