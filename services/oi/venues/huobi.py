"""HTX, formerly Huobi: counts both sides everywhere.

https://www.htx.com/en-us/opend/newApiPages/?id=8cb89359-77b5-11ed-9966-19b97fb53f2
https://huobiapi.github.io/docs/coin_margined_swap/v1/en/#get-swap-open-interest-information
"""

from __future__ import annotations

from services.oi.venues.base import (
    Answer,
    Found,
    Session,
    Venue,
    Wanted,
    amount,
    by_name,
    number,
    part,
    rows,
    time_ms,
)


async def _ask(session: Session, found: Found) -> None:
    api = session.api
    index = await session.kept("linear", api.contractPublicGetLinearSwapApiV1SwapIndex)
    listed = by_name(rows(index, "data"), "contract_code")
    for name, wanted in found.names("{}-USDT").items():
        if name in listed:
            with found.reading(wanted.base):
                request = {"contract_code": name}
                answer = await api.contractPublicGetV5MarketOpenInterest(request)
                read_linear(found, name, wanted, answer)
    sizes = await session.kept("inverse", api.contractPublicGetSwapApiV1SwapContractInfo)
    contracts = by_name(rows(sizes, "data"), "contract_code")
    if found.names("{}-USD").keys() & contracts.keys():
        read_inverse(found, await api.contractPublicGetSwapApiV1SwapOpenInterest(), contracts)


def read_linear(found: Found, name: str, wanted: Wanted, answer: Answer) -> None:
    """`volume`: contracts, `amount`: base coins, `value`: dollars; both sides."""
    data = part(answer, "data")
    raw, coins = amount(data, "volume"), amount(data, "amount")
    if coins:
        found.linear(
            wanted, name, time_ms(answer, "ts"), amount=coins / 2,
            price=number(data, "value") / coins, raw=raw, unit="contracts",
        )  # fmt: skip


def read_inverse(found: Found, answer: Answer, contracts: Answer) -> None:
    """`volume`: contracts of `contract_size` dollars, `amount`: base coins; both sides."""
    listed = by_name(rows(answer, "data"), "contract_code")
    for name, wanted in found.names("{}-USD").items():
        if (row := listed.get(name)) is None:
            continue
        with found.reading(wanted.base):
            raw, coins = amount(row, "volume"), amount(row, "amount")
            usd = raw * number(part(contracts, name), "contract_size")
            if coins:
                found.inverse(
                    wanted, name, time_ms(answer, "ts"), usd=usd / 2, price=usd / coins,
                    raw=raw, unit="contracts",
                )  # fmt: skip


HUOBI = Venue("HUOBI", "htx", 30, _ask)
