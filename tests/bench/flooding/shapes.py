"""What two venues send: instrument lists, confirmations, and trades as frames made once."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Bytes2D = npt.NDArray[np.uint8]
FIRST_ID = 1_000_000_000
_ID, _TIME = "7777777777", "9999999999999"


class Shape(ABC):
    """A venue's dialect, for `count` invented markets."""

    exchange: str
    websocket_host: str

    def __init__(self, count: int) -> None:
        self.coins = [f"Q{number:03d}" for number in range(count)]

    @abstractmethod
    def market(self, coin: str) -> str:
        """The market id."""

    @abstractmethod
    def answer(self, path: str) -> bytes:
        """What REST answers."""

    @abstractmethod
    def confirmed(self, message: bytes) -> tuple[list[str], list[str]]:
        """Coins whose trades a message asks for, and the texts that answer it."""

    @abstractmethod
    def subscribe(self) -> list[str]:
        """Messages that ask for the trades of every coin."""

    @abstractmethod
    def trade(self, coin: str, price: float, size: float, is_buy: bool) -> str:
        """A message of a length that depends on nothing; `_ID` and `_TIME` stand in it."""


class BinanceFutures(Shape):
    """`@aggTrade`, one trade a frame."""

    exchange = "BINANCE_FUTURES"
    websocket_host = "fstream.binance.com/market/ws"

    def market(self, coin: str) -> str:
        return f"BINANCE_FUTURES:{coin.lower()}usdt"

    def answer(self, path: str) -> bytes:
        if not path.startswith("/fapi.binance.com/fapi/v1/exchangeInfo"):
            return b'{"symbols":[]}' if "exchangeInfo" in path else b"[]"
        rows = [
            {
                "symbol": f"{coin}USDT", "baseAsset": coin, "quoteAsset": "USDT",
                "contractType": "PERPETUAL", "status": "TRADING",
            }
            for coin in self.coins
        ]  # fmt: skip
        return json.dumps({"symbols": rows}).encode()

    def confirmed(self, message: bytes) -> tuple[list[str], list[str]]:
        request = json.loads(message)
        names = [p.partition("@") for p in request.get("params", [])]
        coins = [n.removesuffix("usdt").upper() for n, _, kind in names if kind == "aggTrade"]
        return coins, [json.dumps({"result": None, "id": request["id"]})]

    def subscribe(self) -> list[str]:
        streams = [f"{coin.lower()}usdt@aggTrade" for coin in self.coins]
        return [json.dumps({"method": "SUBSCRIBE", "params": streams, "id": 1})]

    def trade(self, coin: str, price: float, size: float, is_buy: bool) -> str:
        maker = "false" if is_buy else "true "
        return (
            f'{{"e":"aggTrade","E":{_TIME},"s":"{coin}USDT","a":{_ID},"p":"{price:.2f}",'
            f'"q":"{size:.3f}","f":5544332211,"l":5544332213,"T":{_TIME},"m":{maker}}}'
        )


class Okex(Shape):
    """`trades`, one trade a frame."""

    exchange = "OKEX"
    websocket_host = "ws.okx.com/ws/v5/public"

    def market(self, coin: str) -> str:
        return f"OKEX:{coin}-USDT-SWAP"

    def answer(self, path: str) -> bytes:
        rows = [
            {
                "instId": f"{coin}-USDT-SWAP", "instType": "SWAP", "uly": f"{coin}-USDT",
                "instFamily": f"{coin}-USDT", "settleCcy": "USDT", "ctType": "linear",
                "ctVal": "0.01", "ctMult": "1", "ctValCcy": coin, "state": "live",
            }
            for coin in self.coins
        ]  # fmt: skip
        return json.dumps({"code": "0", "msg": "", "data": rows if "SWAP" in path else []}).encode()

    def confirmed(self, message: bytes) -> tuple[list[str], list[str]]:
        if message == b"ping":
            return [], ["pong"]
        args = json.loads(message)["args"]
        coins = [a["instId"].partition("-")[0] for a in args if a["channel"] == "trades"]
        return coins, [json.dumps({"event": "subscribe", "arg": a, "connId": "1"}) for a in args]

    def subscribe(self) -> list[str]:
        args = [{"channel": "trades", "instId": f"{coin}-USDT-SWAP"} for coin in self.coins]
        return [json.dumps({"op": "subscribe", "args": args})]

    def trade(self, coin: str, price: float, size: float, is_buy: bool) -> str:
        side = '"buy" ' if is_buy else '"sell"'
        return (
            f'{{"arg":{{"channel":"trades","instId":"{coin}-USDT-SWAP"}},"data":[{{"instId":'
            f'"{coin}-USDT-SWAP","tradeId":"{_ID}","px":"{price:.2f}","sz":"{size:.3f}",'
            f'"side":{side},"ts":"{_TIME}","count":"1","seqId":1234567890}}]}}'
        )


SHAPES: dict[str, type[Shape]] = {"binance_futures": BinanceFutures, "okex": Okex}


class Frames:
    """A block of server frames, made once; only times and ids are written anew each time."""

    def __init__(self, shape: Shape, coins: Sequence[str], count: int, seed: int) -> None:
        chance = np.random.default_rng(seed)
        self.markets = chance.integers(0, len(coins), count)
        prices = 50_000 + np.cumsum(chance.normal(0, 1, count)).clip(-30_000, 30_000)
        sizes = chance.integers(1, 9999, count) / 1000
        buys = chance.random(count) < 0.5
        rows = [
            framed(shape.trade(coins[m], p, s, bool(b)).encode())
            for m, p, s, b in zip(self.markets, prices, sizes, buys, strict=True)
        ]
        self.count = count
        self._rows: Bytes2D = np.frombuffer(b"".join(rows), np.uint8).reshape(count, -1).copy()
        self._ids = _places(rows[0], _ID.encode())
        self._times = _places(rows[0], _TIME.encode())
        self._nth = np.zeros(count, np.int64)
        self.totals = np.zeros(len(coins), np.int64)
        for row, market in enumerate(self.markets):
            self._nth[row] = self.totals[market]
            self.totals[market] += 1

    def stamp(self, ts_ms: int, next_ids: npt.NDArray[np.int64]) -> bytes:
        """The frames as traded now, numbered from each market's `next_ids` on."""
        for place in self._times:
            text = np.frombuffer(str(ts_ms).encode(), np.uint8)
            self._rows[:, place : place + len(text)] = text
        ids = next_ids[self.markets] + self._nth
        for digit in reversed(range(len(_ID))):
            ids, last = np.divmod(ids, 10)
            for place in self._ids:
                self._rows[:, place + digit] = last + ord("0")
        next_ids += self.totals
        return self._rows.tobytes()


def framed(payload: bytes, opcode: int = 1) -> bytes:
    """A whole, unmasked websocket frame."""
    if len(payload) < 126:
        return bytes((0x80 | opcode, len(payload))) + payload
    return bytes((0x80 | opcode, 126)) + len(payload).to_bytes(2, "big") + payload


def _places(row: bytes, text: bytes) -> list[int]:
    found, start = [], row.find(text)
    while start >= 0:
        found.append(start)
        start = row.find(text, start + 1)
    return found
