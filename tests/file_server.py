"""A web server of one file, as good or bad as a test wants it."""

import http.server
import re
import time


class _Handler(http.server.BaseHTTPRequestHandler):
    """Serves the bytes of its server as that is told to."""

    def do_GET(self):
        server = self.server
        server.requests.append(dict(self.headers))
        if server.answers:
            code, headers = server.answers.pop(0)
            self._begin(code, {**headers, "Content-Length": "0"})
            return
        data, first = server.data, 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, server.version)
        if asked and server.ranges and (same or not server.heeds_version):
            first = int(asked[1])
            if first >= len(data):
                self._begin(416, {"Content-Range": f"bytes */{len(data)}", "Content-Length": "0"})
                return
            self._begin(206, self._headers(first))
        else:
            self._begin(200, self._headers(0))
        self._send(data[first:])

    def _headers(self, first):
        server, size = self.server, len(self.server.data)
        headers = {server.version_name: server.version} if server.version else {}
        if server.tells_size:
            headers["Content-Length"] = str(size - first)
        if first:
            start = first + server.wrong_start
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        return headers

    def _begin(self, code, headers):
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, data):
        if self.server.drops:
            data = data[: self.server.drops.pop(0)]
        for start in range(0, len(data), 20_000):
            self.wfile.write(data[start : start + 20_000])
            time.sleep(self.server.pause)

    def log_message(self, *arguments):
        pass


class FileServer(http.server.ThreadingHTTPServer):
    """What is served, and how.

    Attributes:
      drops: after how many bytes each of the next answers breaks off.
      answers: (code, headers) that the next requests get instead of data.
      heeds_version: whether If-Range is heeded.
      wrong_start: what is added to where a part is said to start.
      requests: the headers of what was asked.
    """

    def __init__(self, data):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.data, self.version, self.version_name = data, '"one"', "ETag"
        self.ranges = self.tells_size = self.heeds_version = True
        self.drops, self.answers, self.requests = [], [], []
        self.pause, self.wrong_start = 0.0, 0
        self.url = f"http://127.0.0.1:{self.server_port}/a.tar"

    def handle_error(self, request, client_address):
        pass  # A client that was killed.

    @property
    def ranges_asked(self):
        return [request.get("Range") for request in self.requests]
