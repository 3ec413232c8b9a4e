import pytest

from services.core.settings import FreqtradeSettings
from services.freqtrade_client import FreqtradeClient, FreqtradeRefused, FreqtradeUnreachable
from tests.integration.servers import free_port
from tests.integration.trading.freqtrade_double import FreqtradeDouble, trade


async def test_reads_what_the_strategy_needs() -> None:
    async with FreqtradeDouble() as double, FreqtradeClient(double.settings()) as client:
        double.opened = [trade(trade_id=3)]
        double.closed = [
            trade(trade_id=2, close_timestamp=20, is_open=False),
            trade(trade_id=1, close_timestamp=10, is_open=False),
        ]
        await client.ping()
        assert [t.trade_id for t in await client.status()] == [3]
        assert [t.trade_id for t in await client.trades()] == [1, 2]
        assert (await client.balance()).total == 1000.0
        assert (await client.show_config()).dry_run
        assert (await client.health()).last_process_ts == 5


async def test_a_wrong_password_is_a_refusal() -> None:
    async with FreqtradeDouble() as double, FreqtradeClient(double.settings("wrong")) as client:
        with pytest.raises(FreqtradeRefused, match="401"):
            await client.status()


async def test_an_answer_of_another_kind_is_a_refusal() -> None:
    async with FreqtradeDouble() as double, FreqtradeClient(double.settings()) as client:
        double.opened = [{"trade_id": "seven"}]
        with pytest.raises(FreqtradeRefused, match="not understood"):
            await client.status()
        double.status = 500
        with pytest.raises(FreqtradeRefused, match="500"):
            await client.status()


async def test_nobody_there_is_not_a_refusal() -> None:
    settings = FreqtradeSettings(freqtrade_api_url=f"http://127.0.0.1:{free_port()}")
    async with FreqtradeClient(settings) as client:
        with pytest.raises(FreqtradeUnreachable):
            await client.ping()
