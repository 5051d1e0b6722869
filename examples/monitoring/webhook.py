"""A receiver that prints each alert, to try the way to it: `python webhook.py`."""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Webhook(BaseHTTPRequestHandler):
    """Print what is sent to any path."""

    def do_POST(self) -> None:
        """Print each alert in a notification."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        for alert in json.loads(content)["alerts"]:
            print(self.path, alert["status"], alert["labels"]["alertname"], alert["annotations"]["summary"], flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print no line for a request."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", 9095), Webhook).serve_forever()
