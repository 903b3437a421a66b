"""A server on this machine that answers as W&B's does, as far as our runs ask, and remembers it."""

import gzip
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "0" * 40


class Server(ThreadingHTTPServer):
    """`asked` holds every GraphQL operation in order, as (name, variables); `streamed` the rest."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.streamed: list[tuple[str, bytes]] = []
        self.views: dict[str, dict[str, Any]] = {}
        self._open: list[socket.socket] = []

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        super().process_request(request, client_address)

    def vanish(self) -> None:
        """No new connections, and the open ones cut."""
        self.shutdown()
        self.server_close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def of(self, name: str) -> list[dict[str, Any]]:
        return [variables for asked, variables in self.asked if asked == name]

    def answer(self, name: str, v: dict[str, Any]) -> dict[str, Any] | None:
        self.asked.append((name, v))
        answers = getattr(self, f"on_{name}", None)
        found: dict[str, Any] | None = answers(v) if answers else None
        return found

    def on_Viewer(self, v: dict[str, Any]) -> dict[str, Any]:
        teams: dict[str, Any] = {"edges": []}
        me = {"id": "U", "entity": "me", "username": "me", "name": "me", "email": "", "flags": "{}"}
        return {"viewer": me | {"teams": teams, "apiKeys": teams}}

    on_GetDefaultEntity = on_Viewer

    def on_UpsertBucket(self, v: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "P", "name": v["project"], "entity": {"id": "E", "name": "me"}}
        bucket = {"id": "B", "name": v["name"], "displayName": v["name"], "description": ""}
        rest = {"config": "{}", "sweepName": None, "historyLineCount": 0, "project": project}
        return {
            "upsertBucket": {
                "bucket": bucket | rest | {"createdAt": "2026-01-01T00:00:00Z"},
                "inserted": True,
                "bucketExisted": False,
            }
        }

    def on_CreateArtifact(self, v: dict[str, Any]) -> dict[str, Any]:
        """As if each were known already: nothing of it needs to be sent."""
        given = v["input"]
        id_ = f"{given['artifactCollectionName']}@{given['digest']}"
        made = {
            "id": id_,
            "state": "COMMITTED",
            "artifactSequence": {"latestArtifact": {"id": id_}},
        }
        return {"createArtifact": {"artifact": made}}

    def on_View(self, v: dict[str, Any]) -> dict[str, Any]:
        view = self.views.get(v["viewName"])
        return {"project": {"allViews": {"edges": [{"node": view}] if view else []}}}

    def on_UpsertView2(self, v: dict[str, Any]) -> dict[str, Any]:
        new = v["name"] not in self.views
        kept = {"id": v.get("id", "V1"), "displayName": v["displayName"], "spec": v["spec"]}
        self.views[v["name"]] = kept
        return {"upsertView": {"view": {"id": kept["id"], "name": v["name"]}, "inserted": new}}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply({})

    def do_PUT(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body = self._body()
        if not self.path.startswith("/graphql"):
            self.server.streamed.append((self.path, body))
            self._reply({"limits": {}})
            return
        asked = json.loads(body)
        named = re.search(r"(?:query|mutation)\s+(\w+)", asked["query"])
        name = asked.get("operationName") or (named[1] if named else "")
        data = self.server.answer(name, asked.get("variables") or {})
        self._reply({"data": data} if data else {"errors": [{"message": f"no answer to {name}"}]})

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.vanish()
        thread.join()
