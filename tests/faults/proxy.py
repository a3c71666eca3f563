"""A connection to the store that breaks where a test wants it to: a small TCP proxy that knows MongoDB's messages."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import bson

HEADER_BYTES = 16
OP_MSG = 2013


class Fate(Enum):
    """What becomes of a request."""

    PASSES = "passes"
    REQUEST_CUT = "its request is cut"
    REPLY_CUT = "its reply is cut"


@dataclass(frozen=True)
class Asked:
    """A command on its way to the store."""

    name: str
    collection: str

    @property
    def words(self) -> str:
        return f"{self.name} {self.collection}".strip()


Decide = Callable[[Asked], Fate]


def passes(_: Asked) -> Fate:
    return Fate.PASSES


@dataclass
class Proxy:
    """Listens on a port of its own, and passes on to `target` what `decide` lets pass; a cut closes the connection."""

    target: int
    decide: Decide = passes
    asked: list[Asked] = field(default_factory=list)
    cuts: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._mutex = threading.Lock()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *_: object) -> None:
        self._server.close()

    def url(self, login: Any) -> str:
        """The address of the store, by way of here."""
        return f"mongodb://{login['user']}:{login['password']}@127.0.0.1:{self.port}/{login['database']}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with (
            contextlib.suppress(OSError, ValueError),
            client,
            socket.create_connection(("127.0.0.1", self.target), timeout=60) as store,
        ):
            while True:
                request = _message(client)
                fate = self._fate(request)
                if fate is Fate.REQUEST_CUT:
                    return
                store.sendall(request)
                reply = _message(store)
                if fate is Fate.REPLY_CUT:
                    return
                client.sendall(reply)

    def _fate(self, request: bytes) -> Fate:
        asked = _asked(request)
        if asked is None:
            return Fate.PASSES
        with self._mutex:
            self.asked.append(asked)
            fate = self.decide(asked)
            self.cuts += fate is not Fate.PASSES
            return fate


def _message(source: socket.socket) -> bytes:
    head = _exactly(source, HEADER_BYTES)
    return head + _exactly(source, struct.unpack("<i", head[:4])[0] - HEADER_BYTES)


def _exactly(source: socket.socket, number: int) -> bytes:
    content = b""
    while len(content) < number:
        part = source.recv(number - len(content))
        if not part:
            raise ConnectionResetError
        content += part
    return content


def _asked(request: bytes) -> Asked | None:
    """What is asked, but for what a client says to keep its connection."""
    if struct.unpack("<i", request[12:16])[0] != OP_MSG or request[20] != 0:
        return None
    size = struct.unpack("<i", request[21:25])[0]
    document = bson.decode(request[21 : 21 + size])
    name = next(iter(document))
    if name in ("hello", "ismaster", "isMaster", "saslStart", "saslContinue", "endSessions", "ping"):
        return None
    return Asked(name, document[name] if isinstance(document[name], str) else "")
