"""A small asynchronous client for InfluxDB 1.x: InfluxQL out, line protocol in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import aiohttp
import msgspec

from aggr_server import clock
from aggr_server.settings import Connections
from aggr_server.wire import Gap

Row = dict[str, Any]

_REFUSED = ("partial write", "unable to parse", "field type conflict", "max key length exceeded")
"""How the answers begin that blame the points."""

_MISSING = ("database not found", "retention policy not found")

_MSGPACK = "application/x-msgpack"
"""Costs InfluxDB and the reader less than half the time of JSON."""


class InfluxError(Exception):
    """InfluxDB answered and refused: the query or the points are wrong; trying again is useless."""


class PointsRefused(InfluxError):
    """Points of a write were refused for good, such as for the type of a field; others of the
    same write may have been stored."""


class InfluxUnavailable(Exception):
    """InfluxDB did not answer, or not in time; the same request may go through later."""


class NotSetUp(InfluxUnavailable):
    """The database or a retention policy does not exist yet; influx-init makes them."""


class InfluxClient:
    """One HTTP session to one database. Close it with `close`, or use it in `async with`."""

    def __init__(self, settings: Connections, *, timeout_s: float = 10.0) -> None:
        self._base = f"http://{settings.influx_host}:{settings.influx_port}"
        self._database = settings.influx_database
        self._headers: dict[str, str] = {}
        if settings.influx_password:
            self._headers["Authorization"] = aiohttp.encode_basic_auth(
                settings.influx_username, settings.influx_password
            )
        self._timeout_s = timeout_s
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> InfluxClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; the client opens new ones when it is used again."""
        if self._session:
            await self._session.close()
            self._session = None

    async def ping(self) -> None:
        """Return if InfluxDB is up. Raises `InfluxUnavailable`."""
        await self._request("GET", "/ping", {}, None)

    async def query(self, text: str, *, epoch: str = "s") -> list[Row]:
        """Run InfluxQL; one dict per row, tags of GROUP BY merged in, `time` in `epoch` units.

        Raises `InfluxError`, `InfluxUnavailable`.
        """
        params = {"db": self._database, "q": text, "epoch": epoch}
        method = "GET" if text.lstrip()[:6].upper() in ("SELECT", "SHOW D", "SHOW M") else "POST"
        answer = await self._request(method, "/query", params, None)
        rows: list[Row] = []
        for result in answer.get("results", []):
            if "error" in result:
                raise _refusal(result["error"], f"query: {text}")
            for series in result.get("series", []):
                tags = series.get("tags", {})
                for values in series.get("values", []):
                    rows.append({**tags, **dict(zip(series["columns"], values, strict=True))})
        return rows

    async def write(
        self, lines: Iterable[str], *, precision: str = "s", retention_policy: str = ""
    ) -> None:
        """Write points given in line protocol.

        Raises `InfluxUnavailable`, `PointsRefused`, and `InfluxError` where the points may be well
        but the login is wrong.
        """
        params = {"db": self._database, "precision": precision}
        if retention_policy:
            params["rp"] = retention_policy
        await self._request("POST", "/write", params, "\n".join(lines).encode())

    async def _request(
        self, method: str, path: str, params: dict[str, str], body: bytes | None
    ) -> dict[str, Any]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), headers=self._headers
            )
        try:
            async with (
                clock.timeout(self._timeout_s),
                self._session.request(
                    method,
                    self._base + path,
                    params=params,
                    data=body,
                    headers={"Accept": _MSGPACK},
                ) as response,
            ):
                if response.status == 204:
                    return {}
                if response.status >= 500 or response.status == 413:
                    raise InfluxUnavailable(f"{self._base}{path} answered {response.status}")
                answer = _decoded(await response.read(), response.content_type)
                if response.status >= 400:
                    raise _refusal(str(answer.get("error", answer)), f"HTTP {response.status}")
                return answer
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise InfluxUnavailable(
                f"{self._base}{path}: {str(error) or type(error).__name__}"
            ) from error


def _refusal(error: str, of: str) -> InfluxError | InfluxUnavailable:
    if error.startswith(_MISSING):
        return NotSetUp(f"{error} ({of}); run influx-init, or correct INFLUX_DATABASE")
    kind = PointsRefused if error.startswith(_REFUSED) else InfluxError
    return kind(f"{error} ({of})")


def gap_of(row: Row) -> Gap:
    """A recorded gap, of a row with its tags and fields.

    Raises `InfluxUnavailable`: the fields of a point do not become readable all at once.
    """
    if row["from_s"] is None or row["to_s"] is None:
        raise InfluxUnavailable(f"a gap of {row['market']} at {row['time']} is being written")
    return Gap(row["market"], int(row["from_s"]), int(row["to_s"]), row["reason"])


def _decoded(body: bytes, content_type: str) -> dict[str, Any]:
    """Raises `ValueError`. A refusal comes as JSON whatever was asked for."""
    decode = msgspec.msgpack.decode if content_type == _MSGPACK else msgspec.json.decode
    return decode(body, type=dict[str, Any])
