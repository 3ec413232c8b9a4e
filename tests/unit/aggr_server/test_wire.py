from __future__ import annotations

import msgspec
import pytest

from aggr_server import wire


def test_a_closed_second_survives_the_wire() -> None:
    bar = wire.Bar(1_700_000_000, "BINANCE:btcusdt", 1.5, 2.0, 1.0, 1.25, 10.0, 4.0, 3, 2, 0.0, 7.5)
    message = wire.ClosedSecond(
        collector="aggr-1",
        epoch="e",
        seq=7,
        second=1_700_000_000,
        published_ms=1_700_000_001_200,
        last_trade_ms=1_700_000_000_990,
        bars=[bar],
        gaps=[wire.Gap("BINANCE:btcusdt", 1_699_999_990, 1_699_999_995, "reconnect")],
    )
    assert wire.decode(wire.encode(message)) == message


def test_anything_else_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        wire.decode(b'{"collector": "aggr-1"}')


def test_timeframes_name_their_place_in_influxdb() -> None:
    assert [(t.retention_policy, t.measurement, t.seconds) for t in wire.TIMEFRAMES] == [
        ("aggr_1s", "trades_1s", 1),
        ("aggr_1m", "trades_1m", 60),
        ("aggr_5m", "trades_5m", 300),
        ("aggr_15m", "trades_15m", 900),
        ("aggr_30m", "trades_30m", 1800),
        ("aggr_1h", "trades_1h", 3600),
        ("aggr_4h", "trades_4h", 14400),
    ]


def test_bar_fields_match_the_stored_fields() -> None:
    names = [field.name for field in msgspec.structs.fields(wire.Bar)]
    assert sorted(names[2:]) == sorted(wire.FLOAT_FIELDS + wire.COUNT_FIELDS)
