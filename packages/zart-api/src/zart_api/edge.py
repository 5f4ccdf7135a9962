"""The outermost layer of the app: encoded ids in paths, HEAD, safe headers, a log entry; no traceback goes out."""

from __future__ import annotations

import logging
import time
import uuid
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zart_api import paths, problems

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}
_PROBES: Final = ("/livez", "/readyz")
"""Asked every few seconds by machines."""

_log = logging.getLogger(__name__)
_requests = logging.getLogger("zart_api.requests")


class Edge:
    """Wraps the app's routing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        routed = {**scope, "path": paths.route_path(scope)}
        if scope["method"] == "HEAD":
            routed["method"] = "GET"
        answer = _Answer(send, without_body=scope["method"] == "HEAD")
        began = time.monotonic()
        try:
            await self._app(routed, receive, answer.send)
        except ClientDisconnect:
            answer.status = 499
        except Exception:
            correlation_id = uuid.uuid4().hex
            _log.exception("request failed, correlation id %s", correlation_id)
            if answer.status:
                raise  # half of an answer is out: the server has to cut it off
            await _internal_error(Request(scope), correlation_id)(scope, receive, answer.send)
        finally:
            took, path = (time.monotonic() - began) * 1000, paths.instance(scope)
            level = logging.DEBUG if path.endswith(_PROBES) else logging.INFO
            _requests.log(level, "%s %s %d %.1f ms", scope["method"], path, answer.status, took)


class _Answer:
    """Passes an answer on and remembers its status; 0 before it began."""

    def __init__(self, send: Send, *, without_body: bool) -> None:
        self._send, self._without_body = send, without_body
        self.status = 0

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        elif self._without_body:
            message = {**message, "body": b""}
        await self._send(message)


def _internal_error(request: Request, correlation_id: str) -> Response:
    detail = "something went wrong in the server; its log has an entry under the correlation id"
    return problems.of_status(request, 500, detail, correlation_id=correlation_id)
