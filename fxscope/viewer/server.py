"""The viewer's server: on this machine alone, for whoever has its token.

Every request and every socket must name this server as its host, come from its own page or from no page, and
carry the token of this run (the page itself carries nothing and needs none). Nothing is answered to other
sites, no request names a file, and what is asked for is bounded in bytes and in number.
"""

from __future__ import annotations

import asyncio
import hmac
import io
import json
import secrets
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from urllib.parse import unquote

from .._version import __version__
from ..errors import FxscopeError, said
from ..images import photos
from . import front
from .answers import DROPPED, FAILED, answered, said_of
from .live import Live

HOST = "127.0.0.1"
LARGEST = 32 * 2**20  # bytes of a photograph's file
PIXELS = 50_000_000  # of a photograph
MESSAGE = 2**20  # bytes of a message of a socket
WAITING = 32  # wishes of a socket; of more, the oldest is dropped
SOCKETS = 16

Scope: TypeAlias = dict[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]


class Guard:
    """Refuse what does not come from the server's own page; nothing else sees a refused request.

    Parameters
    ----------
    app : ASGI application
        What is guarded.
    port : int
        Of the server.
    token : str
        Of this run.
    """

    def __init__(self, app: Any, port: int, token: str) -> None:
        self.app, self.token = app, token
        self.hosts = {f"{host}:{port}" for host in (HOST, "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] in ("http", "websocket"):
            reason = self._refused(scope)
            if reason:
                return await _refuse(scope, receive, send, reason)
        await self.app(scope, receive, send)

    def _refused(self, scope: Scope) -> str | None:
        heads = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        hosts, origins = ([v for name, v in heads if name == key] for key in ("host", "origin"))
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return "this server answers to its own address alone"
        is_socket = scope["type"] == "websocket"
        if (origins or is_socket) and origins != [f"http://{hosts[0]}"]:
            return "this server answers to its own page alone"
        if scope["path"] == "/" and not is_socket:
            return None
        given = [v.removeprefix("Bearer ") for name, v in heads if name == "authorization"]
        if is_socket:  # browsers let a page say nothing but the protocols
            given = [p for p in scope["subprotocols"] if p != "fxscope"]
        if len(given) != 1 or not hmac.compare_digest(given[0].encode(), self.token.encode()):
            return "this page's token is of another run: open the address that fxscope view prints"
        return None


async def _refuse(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        return await send({"type": "websocket.close", "code": 1008})
    from starlette.responses import PlainTextResponse

    await PlainTextResponse(reason, 403)(scope, receive, send)


def application(live: Live, port: int, token: str) -> Any:
    """The ASGI application of live networks."""
    from starlette.applications import Starlette
    from starlette.routing import Route, WebSocketRoute

    app = _Handlers(live, port)
    routes = [
        Route("/", app.page),
        Route("/about", app.about),
        Route("/photographs", app.photograph, methods=["POST"]),
        WebSocketRoute("/filters", app.filters),
    ]
    return Guard(Starlette(routes=routes), port, token)


class _Handlers:
    """What the server answers."""

    def __init__(self, live: Live, port: int) -> None:
        self.live = live
        self.sockets = 0
        self.html, self.heads = _page(live, port)

    async def page(self, request: Any) -> Any:
        """The page, which has nothing of the networks in it."""
        from starlette.responses import HTMLResponse

        return HTMLResponse(self.html, headers=self.heads)

    async def about(self, request: Any) -> Any:
        """What is shown."""
        return _json(await asyncio.to_thread(self.live.told))

    async def photograph(self, request: Any) -> Any:
        """Open a photograph that was dropped onto the page: the body is its file."""
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > LARGEST:
                return _json({"error": f"a photograph of at most {LARGEST // 2**20} MB is read"}, 413)
        name = unquote(request.query_params.get("name", ""))[:100] or "photograph"
        try:
            return _json(await asyncio.to_thread(self._opened, name, bytes(body)))
        except FxscopeError as error:
            return _json({"error": str(error)}, 422)
        except Exception as error:  # a network's own code fails in many ways
            return _json({"error": said(error)}, 422)

    def _opened(self, name: str, body: bytes) -> list[dict[str, Any]]:
        return self.live.add(name, photos.decoded(io.BytesIO(body), name, PIXELS))

    async def filters(self, websocket: Any) -> None:
        """Rows and columns as they are wished for."""
        if self.sockets >= SOCKETS:
            return await websocket.close(code=1013)
        self.sockets += 1
        try:
            await websocket.accept(subprotocol="fxscope")
            await _Wishes(self.live, websocket).granted()
        finally:
            self.sockets -= 1


class _Wishes:
    """The wishes of one socket: one is computed, the newest come first, and few wait."""

    def __init__(self, live: Live, websocket: Any) -> None:
        self.live, self.websocket = live, websocket
        self.waiting: list[tuple[int, str, Any]] = []
        self.some = asyncio.Event()

    async def granted(self) -> None:
        """Until the socket is closed."""
        from starlette.websockets import WebSocketDisconnect

        computing = asyncio.create_task(self._compute())
        try:
            while True:
                await self._take(await self.websocket.receive_text())
        except (WebSocketDisconnect, KeyError):  # closed, or a message that is no text
            pass
        finally:
            computing.cancel()

    async def _take(self, text: str) -> None:
        try:
            wish = json.loads(text)
            number, verb, given = wish["id"], wish["verb"], wish["given"]
            if not isinstance(number, int) or not 0 <= number < 2**32:
                raise ValueError(number)
        except (ValueError, KeyError, TypeError, RecursionError):
            return await self._say(0, FAILED, "a wish is JSON: {id, verb, given}")
        self.waiting.append((number, verb, given))
        if len(self.waiting) > WAITING:
            await self._say(self.waiting.pop(0)[0], DROPPED, "newer wishes came")
        self.some.set()

    async def _compute(self) -> None:
        while True:
            await self.some.wait()
            if not self.waiting:
                self.some.clear()
                continue
            wish = self.waiting.pop()
            await self.websocket.send_bytes(await asyncio.to_thread(answered, self.live, *wish))

    async def _say(self, number: int, kind: int, text: str) -> None:
        await self.websocket.send_bytes(said_of(number, kind, text))


def _json(found: Any, status: int = 200) -> Any:
    from starlette.responses import JSONResponse

    return JSONResponse(found, status, headers={"Cache-Control": "no-store"})


def _page(live: Live, port: int) -> tuple[str, dict[str, str]]:
    """The page and its headers."""
    where = " ".join(f"{kind}://{host}:{port}" for kind in ("http", "ws") for host in (HOST, "localhost"))
    title = front.title_of([network.name for network in live.networks])
    footer = f"<p>fxscope {__version__} computes on your machine; this page speaks with nothing else.</p>"
    text, policy = front.page("viewer.js", title, "on this machine", footer, where)
    heads = {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cross-Origin-Opener-Policy": "same-origin",
    }
    return text, heads


def bound(port: int = 0) -> socket.socket:
    """A socket of this machine alone that listens; port 0 is a free one.

    Raises
    ------
    FxscopeError
        If the port is taken.
    """
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((HOST, port))
    except OSError as error:
        made.close()
        raise FxscopeError(
            f"port {port} cannot be used: {error.strerror}; --port 0 takes a free one"
        ) from None
    made.listen(128)
    return made


def serve(live: Live, listening: socket.socket, token: str) -> None:
    """Serve until Ctrl-C."""
    import uvicorn

    port = listening.getsockname()[1]
    config = uvicorn.Config(
        application(live, port, token),
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=MESSAGE,
        limit_concurrency=64,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[listening])


def new_token() -> str:
    """A secret of one run, of letters that an address and a protocol's name may have."""
    return secrets.token_urlsafe(24)
