"""What every request must be and every answer says, before any page has a word.

A page of another site may make a browser send requests here, by name (DNS rebinding) or by form (CSRF): a request must
name a host that is ours, and one that changes something must come from our own page and carry its token.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: then a form of ours would say that it comes from nowhere (Origin: null).
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
SAFE = ("GET", "HEAD")


class Guard:
    """ASGI middleware. hosts: what `Host` may be, in lower case; empty where a proxy before us decides that."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refused(scope["method"], Headers(scope=scope))
        if refused:
            status, why = refused
            await PlainTextResponse(f"{why}\n", status_code=status)(scope, receive, told)
            return
        await self._app(scope, receive, told)

    def _refused(self, method: str, headers: Headers) -> tuple[int, str] | None:
        host = headers.get("host", "").lower()
        if self._hosts and host not in self._hosts:
            return 421, f"This is {sorted(self._hosts)[0]}; nobody here is called {host[:100]!r}."
        if method in SAFE:
            return None
        origin = headers.get("origin", "").lower()
        if origin not in (f"http://{host}", f"https://{host}"):
            return 403, "This did not come from a page of this console, so nothing was done."
        return None


class Tokens:
    """What a form must carry. Of a person with a token of their own it is made from that, so that all replicas know it;
    of another, from a secret of this process and their name."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)

    def of(self, token: str, person: str = "") -> str:
        """The token of somebody's forms. token: theirs, "" where they have none; person: their name, or ""."""
        about = f"a form of the console{person}"
        return hmac.new(token.encode() or self._secret, about.encode(), hashlib.sha256).hexdigest()

    def holds(self, sent: str, token: str, person: str = "") -> bool:
        """Whether a form carries what it must."""
        return hmac.compare_digest(self.of(token, person).encode(), sent.encode())
