"""A small store of messages for a webhook, and a program that fills and sends it until it dies.

python -m support.outbox FILE URL COUNT
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from pathlib import Path

from support.hooks import SECRET
from support.messages import part_message
from zeroline.edge_app.events import Events
from zeroline.edge_app.messages import Message
from zeroline.edge_app.outputs.hub import OutputHub
from zeroline.edge_app.outputs.webhook import DurableWebhook


class FileOutbox:
    """Messages in SQLite, committed one by one."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()
        self._file = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("CREATE TABLE IF NOT EXISTS message (number INTEGER PRIMARY KEY, body)")
        self._file.execute("CREATE TABLE IF NOT EXISTS done (up_to INTEGER)")

    def _all(self, text: str, *values: object) -> list[tuple[int, str]]:
        with self._lock:
            return self._file.execute(text, values).fetchall()

    def add(self, message: Message) -> None:
        self._all("INSERT INTO message VALUES (?, ?)", message.number, json.dumps(message.body))

    @property
    def newest(self) -> int:
        return self._all("SELECT coalesce(max(number), 0), '' FROM message")[0][0]

    @property
    def delivered_up_to(self) -> int:
        return self._all("SELECT coalesce(max(up_to), 0), '' FROM done")[0][0]

    def delivered(self, number: int) -> None:
        self._all("INSERT INTO done VALUES (?)", number)

    def after(self, number: int, limit: int) -> list[tuple[int, str]]:
        text = "SELECT number, body FROM message WHERE number > ? ORDER BY number LIMIT ?"
        return self._all(text, number, limit)

    def close(self) -> None:
        with self._lock:
            self._file.close()


def main(path: str, url: str, count: int) -> None:
    outbox = FileOutbox(path)
    hook = DurableWebhook(url, secret=SECRET, outbox=outbox, delivered=outbox.delivered)
    hub = OutputHub({"webhook": hook}, events=Events(), patient=False)
    for _ in range(count):
        message = part_message(outbox.newest + 1)
        outbox.add(message)
        hub.put(message)
        sys.stdout.write(f"{message.number}\n")
        sys.stdout.flush()
    hub.close(20)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
