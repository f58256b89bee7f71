"""Receives the webhooks of a sink: verifies each request, stores each event once, answers, and processes it afterwards.

    pip install -r requirements.txt
    WEBHOOK_SECRET=whsec_… PORT=8090 INBOX=inbox.db python receiver.py
"""

import json
import os
import queue
import sqlite3
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks import Webhook, WebhookVerificationError

# The largest document of MongoDB has 16 MiB, and is longer as JSON.
MAX_BYTES = 64 * 1024 * 1024

webhook = Webhook(os.environ["WEBHOOK_SECRET"])


class Inbox:
    """Holds every event that was accepted. The primary key recognizes repetitions."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS events (id TEXT PRIMARY KEY, event TEXT, processed INTEGER DEFAULT 0)"
        )

    def store(self, events: list[dict]) -> list[dict]:
        """Stores the events that are new, in one transaction, and returns them."""
        with self._lock, self._database:
            return [event for event in events if self._insert(event)]

    def _insert(self, event: dict) -> bool:
        values = (event["id"], json.dumps(event))
        sql = "INSERT OR IGNORE INTO events (id, event) VALUES (?, ?)"
        return self._database.execute(sql, values).rowcount == 1

    def unprocessed(self) -> list[dict]:
        with self._lock:
            sql = "SELECT event FROM events WHERE processed = 0 ORDER BY rowid"
            return [json.loads(event) for (event,) in self._database.execute(sql)]

    def mark_processed(self, event: dict) -> None:
        with self._lock, self._database:
            self._database.execute("UPDATE events SET processed = 1 WHERE id = ?", (event["id"],))


inbox = Inbox(os.environ.get("INBOX", "inbox.db"))
waiting: "queue.Queue[dict]" = queue.Queue()


def process_events() -> None:
    """Your own work. It runs beside the answers, so the service does not wait for it."""
    while True:
        event = waiting.get()
        shown = {"type": "processed", "id": event["id"], "event": event["type"], "subject": event["subject"]}
        print(json.dumps(shown), flush=True)
        inbox.mark_processed(event)


class Receiver(BaseHTTPRequestHandler):
    # Keeps the connection for the next request.
    protocol_version = "HTTP/1.1"
    # Seconds for a peer that sends nothing.
    timeout = 30

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length", -1))
        if not 0 <= length <= MAX_BYTES:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(length)
        try:
            # Raises if the signature is wrong or the request is older than five minutes.
            content = webhook.verify(body, dict(self.headers.items()))
        except WebhookVerificationError:
            return self.answer(401)
        # A sink with `batch` sends a list of events.
        for event in inbox.store(content if isinstance(content, list) else [content]):
            waiting.put(event)
        self.answer(204)

    def answer(self, status: int) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """No line for each request."""


for unprocessed in inbox.unprocessed():
    waiting.put(unprocessed)
threading.Thread(target=process_events, daemon=True).start()
server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8090"))), Receiver)
print(json.dumps({"type": "listening", "port": server.server_address[1]}), flush=True)
try:
    server.serve_forever()
except KeyboardInterrupt:
    pass
