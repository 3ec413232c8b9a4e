from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from services.simulator.instruments import Instrument
from services.simulator.model import BASES, Path
from services.simulator.trades import Batch, Splitter
from services.simulator.venues import DEMO, INSTRUMENTS, instruments, known

BTC = BASES[0]
MARKETS = [i for i in INSTRUMENTS if i.base == "BTC"]


@pytest.fixture(scope="module")
def path() -> Path:
    return Path(1, BTC)


@pytest.fixture(scope="module")
def splitter() -> Splitter:
    return Splitter(1, BTC, INSTRUMENTS)


@pytest.mark.parametrize("instrument", MARKETS, ids=lambda i: i.market)
def test_one_second_gives_the_same_trades_alone_and_among_many(
    path: Path, splitter: Splitter, instrument: Instrument
) -> None:
    whole = splitter.trades(path.seconds(-3000, 3000), instrument)
    for second in (-2999, -1, 0, 1234):
        alone = splitter.trades(path.seconds(second, second + 1), instrument)
        here = whole.second == second
        assert all(
            np.array_equal(getattr(alone, f.name), getattr(whole, f.name)[here])
            for f in fields(Batch)
        )


def test_further_venues_leave_the_markets_of_the_demo_as_they_are(
    path: Path, splitter: Splitter
) -> None:
    everything = Splitter(1, BTC, instruments((*DEMO, *sorted(set(known()) - set(DEMO)))))
    flow = path.seconds(0, 120)
    for instrument in MARKETS:
        alone, among = (s.trades(flow, instrument) for s in (splitter, everything))
        assert all(
            np.array_equal(getattr(alone, f.name), getattr(among, f.name)) for f in fields(Batch)
        )


def test_a_load_makes_more_trades_of_the_same_prices_and_volumes(
    path: Path, splitter: Splitter
) -> None:
    heavy = Splitter(1, BTC, INSTRUMENTS, 3.0)
    flow = path.seconds(0, 600)
    for instrument in MARKETS:
        usual, more = (s.trades(flow, instrument) for s in (splitter, heavy))
        assert len(more.second) / len(usual.second) == pytest.approx(3.0, abs=0.5)
        assert more.lots.sum() / usual.lots.sum() == pytest.approx(1.0, abs=0.001)
        assert (more.ticks.min(), more.ticks.max()) == (usual.ticks.min(), usual.ticks.max())


def test_markets_apart_trade_their_own_share(path: Path) -> None:
    flow = path.seconds(-1200, 0)
    others = [i for i in instruments(tuple(known())) if i.apart and i.base == "BTC"]
    splitter = Splitter(1, BTC, tuple(others))
    for instrument in others:
        market, batch = splitter.market_flow(flow, instrument), splitter.trades(flow, instrument)
        volume = flow.spot_volume if instrument.kind == "spot" else flow.perp_volume
        part = (market.buy_usd + market.sell_usd).sum() / volume.sum()
        assert part == pytest.approx(instrument.share, rel=0.05)
        price = batch.ticks / 10.0**instrument.price_decimals
        traded = batch.lots * 10.0**-instrument.lot_decimals * (instrument.inverse_usd or price)
        # Seconds without a trade lose their volume.
        assert 0.4 < traded.sum() / (market.buy_usd + market.sell_usd).sum() < 1.05
        assert batch.forced.any() == (instrument.kind == "perp" and instrument.tells_liquidations)


def test_trades_are_in_time_order_within_their_second(path: Path, splitter: Splitter) -> None:
    batch = splitter.trades(path.seconds(0, 600), MARKETS[0])
    moment = batch.second * 1000 + batch.ms
    assert (np.diff(moment) >= 0).all()
    assert batch.ms.min() >= 0
    assert batch.ms.max() <= 999
    assert batch.lots.min() >= 1


def test_the_markets_of_a_class_trade_its_flow(path: Path, splitter: Splitter) -> None:
    flow = path.seconds(-1200, 0)
    for kind, delta, volume in (
        ("spot", flow.spot_delta, flow.spot_volume),
        ("perp", flow.perp_delta, flow.perp_volume),
    ):
        split = [splitter.market_flow(flow, i) for i in MARKETS if i.kind == kind]
        assert sum(s.buy_usd - s.sell_usd for s in split) == pytest.approx(delta, rel=1e-6)
        assert sum(s.buy_usd + s.sell_usd for s in split) == pytest.approx(volume, rel=1e-6)


def test_rounding_to_lots_keeps_the_delta(path: Path, splitter: Splitter) -> None:
    perp = next(i for i in MARKETS if i.kind == "perp" and i.quiet == 0)
    flow = path.seconds(-1200, 0)
    market, batch = splitter.market_flow(flow, perp), splitter.trades(flow, perp)
    usd = batch.ticks * batch.lots / 10.0 ** (perp.price_decimals + perp.lot_decimals)
    traded = np.where(batch.buy, usd, -usd).sum()
    wanted = (market.buy_usd - market.sell_usd).sum()
    assert traded == pytest.approx(wanted, rel=0.02)


def test_the_reference_market_shows_the_wicks_of_the_path(path: Path, splitter: Splitter) -> None:
    reference = next(i for i in MARKETS if i.kind == "perp" and i.basis_bp == 0)
    test = next(s for s in path.script.between(-600, 200) if s.step.wick)
    flow = path.seconds(test.end - 45, test.end - 44)
    batch = splitter.trades(flow, reference)
    lowest = batch.ticks.min() / 10.0**reference.price_decimals
    assert np.log(lowest) == pytest.approx(float(flow.low[0]), abs=1e-6)


def test_about_a_hundred_and_fifty_trades_happen_per_second() -> None:
    total = 0
    for base in BASES:
        flow = Path(1, base).seconds(-1200, 0)
        splitter = Splitter(1, base, INSTRUMENTS)
        total += sum(len(splitter.trades(flow, i).ms) for i in splitter.instruments)
    assert 100 < total / 1200 < 200


def test_forced_orders_happen_on_perpetuals_in_the_direction_of_the_squeeze(
    path: Path, splitter: Splitter
) -> None:
    run = next(s for s in path.script.between(0, 200) if s.step.name == "run")
    squeezed, calm = path.seconds(run.start, run.end), path.seconds(-20_000, -10_000)
    for instrument in MARKETS:
        batch = splitter.trades(squeezed, instrument)
        quiet = splitter.trades(calm, instrument)
        if instrument.kind == "spot":
            assert not batch.forced.any()
            assert not quiet.forced.any()
        else:
            assert 8 <= batch.forced.sum() <= 50
            assert batch.buy[batch.forced].all()
            assert quiet.forced.sum() < 60
