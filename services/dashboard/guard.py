"""Lets in who may look, and keeps other sites' pages out."""

from __future__ import annotations

import ipaddress
import math
from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from services.dashboard.assets import Assets
from services.dashboard.login import SESSION_S, Login, session_of

COOKIE = "squeezeflow_session"
METRICS = "/metrics"
LIVE = "/live"

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
        "connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # With no-referrer, browsers would not name the page that a form comes from.
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "squeezeflow",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class Guard:
    """`login`: None where only this machine reaches the page; then it must be called by a name of
    this machine, so that no foreign name can be made to lead here."""

    def __init__(self, login: Login | None, assets: Assets) -> None:
        self._login = login
        self._assets = assets

    def add_to(self, application: web.Application) -> None:
        """Guard every request, and answer `/login` and `/logout`."""
        application.middlewares.append(self.middleware)
        application.on_response_prepare.append(_secure)
        if self._login is not None:
            application.router.add_get("/login", self._form)
            application.router.add_post("/login", self._log_in)

    def session(self, request: web.Request) -> str:
        """What the request's session is known by; empty without a login."""
        return session_of(request.cookies.get(COOKIE, "")) if self._login is not None else ""

    def logged_in(self, session: str) -> bool:
        """Whether whoever has this session may look."""
        return self._login is None or self._login.holds(session)

    def log_out(self, request: web.Request) -> web.Response:
        """End the request's session."""
        if self._login is not None:
            self._login.close(self.session(request))
        answer = web.Response(status=303, headers={"Location": "/login"})
        answer.del_cookie(COOKIE, path="/")
        return answer

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in place of the handler where the request must not reach it."""
        refused = self._refused(request)
        return refused if refused is not None else await handler(request)

    def _refused(self, request: web.Request) -> web.Response | None:
        path = request.path
        # Probes call this machine by whatever name they know it by.
        probed = path in ("/health", METRICS) or path.startswith("/health/")
        if self._login is None and not probed and not is_loopback(request.host):
            return _text(
                421,
                f"This page answers to names of its own machine only, not to {request.host}. "
                "Open http://localhost or http://127.0.0.1, through an SSH tunnel if need be.",
            )
        upgrade = request.headers.get(hdrs.UPGRADE, "").lower() == "websocket"
        if (upgrade or request.method not in ("GET", "HEAD")) and not same_origin(request, upgrade):
            return _text(403, "This request comes from another site's page.")
        if self._login is None or path == "/login" or path.startswith("/assets/"):
            return None
        if probed:
            return self._ask_for_basic(request) if path == METRICS else None
        if self._login.holds(self.session(request)) or path == LIVE:
            # A websocket without a login is told so by its own close code.
            return None
        if path == "/":
            return web.Response(status=303, headers={"Location": "/login"})
        return _text(401, "Log in first: /login")

    def _ask_for_basic(self, request: web.Request) -> web.Response | None:
        assert self._login is not None
        address = request.remote or ""
        header = request.headers.get(hdrs.AUTHORIZATION, "")
        if header and self._login.basic(header, address):
            return None
        if wait_s := self._login.attempts.wait_s(address):
            return _too_often(wait_s)
        answer = _text(401, "The password of the page is needed, with any user name.")
        answer.headers["WWW-Authenticate"] = 'Basic realm="squeezeflow"'
        return answer

    async def _form(self, request: web.Request) -> web.Response:
        if self.logged_in(self.session(request)):
            return web.Response(status=303, headers={"Location": "/"})
        return self._assets.page("login.html", request)

    async def _log_in(self, request: web.Request) -> web.Response:
        assert self._login is not None
        address = request.remote or ""
        form = await request.post()
        password = form.get("password", "")
        token = self._login.open(password if isinstance(password, str) else "", address)
        if token is None:
            if wait_s := self._login.attempts.wait_s(address):
                answer = _too_often(wait_s)
                answer.set_status(303)
                answer.headers["Location"] = f"/login?wait={math.ceil(wait_s)}"
                return answer
            return web.Response(status=303, headers={"Location": "/login?wrong=1"})
        answer = web.Response(status=303, headers={"Location": "/"})
        answer.set_cookie(
            COOKIE,
            token,
            max_age=SESSION_S,
            path="/",
            httponly=True,
            samesite="Strict",
            secure=request.secure,
        )
        return answer


def is_loopback(host: str) -> bool:
    """Whether `host`, with or without a port, is a name or an address of this machine itself."""
    bare = host.count(":") > 1 and not host.startswith("[")  # an IPv6 address without brackets
    try:
        name = host if bare else urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def same_origin(request: web.Request, needed: bool) -> bool:
    """Whether the page that sends this was loaded from here.

    Browsers always name it for a websocket (`needed`) and for a form; other programs need not.
    """
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is None:
        return not needed
    try:
        return urlsplit(origin).netloc.lower() == request.host.lower()
    except ValueError:
        return False


async def _secure(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers[name] = value


def _text(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n", headers={"Cache-Control": "no-store"})


def _too_often(wait_s: float) -> web.Response:
    answer = _text(429, f"Too many wrong passwords. Try again in {math.ceil(wait_s)} s.")
    answer.headers["Retry-After"] = str(math.ceil(wait_s))
    return answer
