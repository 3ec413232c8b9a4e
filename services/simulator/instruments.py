"""What is traded where: steps, shares of the flow, and the exact decimals of a trade."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

_INVERSE_DECIMALS = 12


@dataclass(frozen=True, slots=True)
class Instrument:
    """One market of a venue.

    `market`: its id as the collector names it. `native`: the venue's own symbol. Prices are
    integer ticks of 10**-price_decimals, sizes integer lots of 10**-size_decimals native units,
    and one native unit is 10**-contract_decimals base coins. `share`: of its class's volume.
    `rate`: mean trades per second. `basis_bp`: price against the reference; `quiet`: share of
    seconds without a trade. `oi_share`: of the base symbol's open interest, which the venue
    publishes in `oi_unit`, `oi_factor` times the coins. `apart`: `share` comes on top of the
    class's volume instead of being a part of it, so that the other markets trade as without it.
    `inverse_usd`: USD one native unit is worth, if it is worth dollars and not coins.
    `tells_liquidations`: of a perpetual, whether the venue publishes its forced orders at all.
    """

    market: str
    base: str
    quote: str
    kind: Literal["spot", "perp"]
    native: str
    price_decimals: int
    size_decimals: int
    share: float
    rate: float
    basis_bp: float = 0.0
    quiet: float = 0.0
    contract_decimals: int = 0
    oi_share: float = 0.0
    oi_factor: float = 1.0
    oi_unit: Literal["base", "contracts"] = "base"
    apart: bool = False
    inverse_usd: int = 0
    tells_liquidations: bool = True

    @property
    def exchange(self) -> str:
        """The part of the market id before the colon."""
        return self.market.partition(":")[0]

    @property
    def lot_decimals(self) -> int:
        """Decimals of one lot in base coins; of an inverse contract, in native units."""
        return self.size_decimals + self.contract_decimals

    def lot_usd(self, price: float) -> float:
        """What one lot is worth at a price, in quote."""
        per_unit = float(self.inverse_usd or price)
        return per_unit * 10.0**-self.lot_decimals

    @property
    def tick(self) -> str:
        """Smallest price step."""
        return fixed(1, self.price_decimals)

    @property
    def step(self) -> str:
        """Smallest size step in native units."""
        return fixed(1, self.size_decimals)


class Trade(NamedTuple):
    """One trade, or one forced order (`liquidation`), of a market.

    `id` counts up by one per market; a forced order carries the id of the trade that filled it.
    """

    instrument: Instrument
    id: int
    ts_ms: int
    buy: bool
    ticks: int
    lots: int
    liquidation: bool = False

    @property
    def price(self) -> str:
        """Exact decimal, quote per base coin."""
        return fixed(self.ticks, self.instrument.price_decimals)

    @property
    def size(self) -> str:
        """Exact decimal in native units."""
        return fixed(self.lots, self.instrument.size_decimals)

    @property
    def size_base(self) -> str:
        """Exact decimal in base coins; of an inverse contract, rounded to 12 decimals."""
        instrument = self.instrument
        if instrument.inverse_usd:
            return str(round(Decimal(self.notional) / Decimal(self.price), _INVERSE_DECIMALS))
        return fixed(self.lots, instrument.lot_decimals)

    @property
    def notional(self) -> str:
        """Exact decimal in quote."""
        instrument = self.instrument
        if instrument.inverse_usd:
            return fixed(self.lots * instrument.inverse_usd, instrument.lot_decimals)
        return fixed(self.ticks * self.lots, instrument.price_decimals + instrument.lot_decimals)


def fixed(value: int, decimals: int) -> str:
    """`value` times 10**-decimals, written with exactly that many decimals."""
    if decimals == 0:
        return str(value)
    sign, digits = ("-", -value) if value < 0 else ("", value)
    text = str(digits).rjust(decimals + 1, "0")
    return f"{sign}{text[:-decimals]}.{text[-decimals:]}"
