"""The command line of the backtest."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from services.backtest.errors import BacktestError
from services.backtest.result import Costs
from services.backtest.sweep import CRITERIA, IN_SAMPLE_PARTS

DESCRIPTION = """\
Run the strategy over recorded markets, one evaluation each second, decided by the code that trades
live, with simulated execution. Prints a summary and writes an HTML report.
"""

EXAMPLES = """\
examples:
  what is stored (InfluxDB; one-second bars are kept for INFLUX_RETENTION_1S)
    python3 scripts/backtest.py --symbol BTC
    python3 scripts/backtest.py --symbol BTC --from 2026-11-20 --to 2026-11-20T12:00
  recorded trades: ts_ms,price,size_base,side,trade_id; the file's name may tell the market
    python3 scripts/backtest.py --symbol BTC --trades BINANCE:btcusdt=spot.csv.gz \\
        --trades BINANCE_FUTURES:btcusdt=perp.csv.gz --warm-min 30
  stored bars in files: time,market,open,high,low,close,vbuy,vsell,... or line protocol of trades_1s
    python3 scripts/backtest.py --symbol BTC ETH --bars day1.csv.gz day2.csv.gz --json result.json
  which parameters would have been best, and whether that holds on the data after it
    python3 scripts/backtest.py --symbol BTC --from 2026-11-01 --bars *.csv.gz \\
        --sweep min_score=4,5,6 --sweep div_gap_z=2.5,3,3.5 --walk-forward 4

Times are UTC: a date, a date with a time, or seconds since 1970.
"""


def parser() -> argparse.ArgumentParser:
    """All options."""
    usual = Costs()
    made = argparse.ArgumentParser(
        prog="backtest.py",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--symbol", nargs="+", action="extend", metavar="BASE",
        help="base symbols, such as BTC; several share the portfolio's limits",
    )  # fmt: skip
    made.add_argument(
        "--from", dest="from_", metavar="TIME",
        help="start, UTC; default: as early as there are data",
    )  # fmt: skip
    made.add_argument("--to", metavar="TIME", help="end, UTC; default: as far as there are data")
    _sources(made.add_argument_group("sources (without --bars and --trades: InfluxDB)"))
    _execution(made.add_argument_group("simulated execution"), usual)
    _parameters(made.add_argument_group("parameters of the strategy"))
    _output(made.add_argument_group("output"))
    return made


def _sources(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--bars", nargs="+", action="extend", default=[], type=Path, metavar="FILE")
    group.add_argument(
        "--trades", nargs="+", action="extend", default=[], metavar="[EXCHANGE:symbol=]FILE"
    )
    group.add_argument(
        "--oi", nargs="+", action="extend", default=[], metavar="[BASE=]FILE",
        help="open interest: ts_ms,exchange,coins",
    )  # fmt: skip
    group.add_argument(
        "--funding", nargs="+", action="extend", default=[], metavar="[BASE=]FILE",
        help="funding rates: ts_ms,rate",
    )  # fmt: skip
    group.add_argument(
        "--execution-exchange", metavar="EXCHANGE",
        help="whose perpetual gives price and fills; default: SQUEEZEFLOW_EXECUTION_EXCHANGE",
    )  # fmt: skip
    group.add_argument(
        "--environment", action="store_true", help="take settings from the environment alone"
    )


def _execution(group: argparse._ArgumentGroup, usual: Costs) -> None:
    def add(name: str, kind: type, value: float, text: str) -> None:
        group.add_argument(name, type=kind, default=value, help=f"{text}; default {value:g}")

    add("--fee", float, usual.fee_rate, "taker fee at each end, share of the notional")
    add("--slippage-bp", float, usual.slippage_bp, "basis points against every fill")
    add("--delay-s", int, usual.fill_delay_s, "seconds from decision to fill")
    add("--wallet", float, usual.wallet, "money at the start, quote currency")
    add("--stake", float, usual.stake, "margin of a trade of factor 1, quote currency")
    add("--max-open-trades", int, usual.max_open_trades, "the execution engine's own limit")


def _parameters(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--set", nargs="+", action="extend", default=[], metavar="NAME=VALUE")
    group.add_argument(
        "--warm-min", type=int, metavar="MINUTES",
        help="minutes of data before the first decision (--set warm_min=...)",
    )  # fmt: skip
    group.add_argument("--list-params", action="store_true", help="print all parameters and end")
    group.add_argument(
        "--sweep", nargs="+", action="extend", default=[], metavar="NAME=A,B,C",
        help="run every combination on all cores",
    )  # fmt: skip
    group.add_argument(
        "--walk-forward", type=int, metavar="N",
        help="N splits: the best of --sweep in-sample, evaluated on the part after it, "
        f"1/{IN_SAMPLE_PARTS} as long",
    )  # fmt: skip
    group.add_argument("--best-by", choices=CRITERIA, default="pnl", help="default pnl")
    group.add_argument("--jobs", type=int, metavar="N", help="processes; default: all cores")


def _output(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--report", type=Path, metavar="FILE", help="HTML; default: named by run")
    group.add_argument("--no-report", action="store_true")
    group.add_argument("--json", type=Path, metavar="FILE", help="everything, as one JSON object")
    group.add_argument(
        "--csv", type=Path, metavar="DIR", help="signals.csv, trades.csv and equity.csv"
    )
    group.add_argument("--quiet", action="store_true", help="no summary and no progress")


def utc_second(option: str, text: str | None) -> int | None:
    """A UTC second from a date, a date with a time, or a number. Raises `BacktestError`."""
    if text is None:
        return None
    if text.isdigit() and 9 <= len(text) <= 10:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BacktestError(
            f"{option} {text}: no time; write 2026-11-20, 2026-11-20T14:30 or UTC seconds"
        ) from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


def costs_of(options: argparse.Namespace, max_leverage: int, risk_frac: float) -> Costs:
    """Raises `BacktestError` for figures that make no sense."""
    limits = {
        "--fee": (options.fee, 0.0, 0.05),
        "--slippage-bp": (options.slippage_bp, 0.0, 1000.0),
        "--delay-s": (options.delay_s, 0, 3600),
        "--wallet": (options.wallet, 1.0, 1e12),
        "--stake": (options.stake, 0.01, 1e12),
        "--max-open-trades": (options.max_open_trades, 1, 1000),
    }
    for name, (value, low, high) in limits.items():
        if not low <= value <= high:
            raise BacktestError(f"{name} {value:g}: must be between {low:g} and {high:g}")
    return Costs(
        fee_rate=options.fee,
        slippage_bp=options.slippage_bp,
        fill_delay_s=options.delay_s,
        wallet=options.wallet,
        stake=options.stake,
        max_open_trades=options.max_open_trades,
        max_leverage=max_leverage,
        risk_frac=risk_frac,
    )
