"""State of a symbol as a JSON-able dict, without the market history."""

from __future__ import annotations

from typing import Any

from services.strategy.exits import Position
from services.strategy.fills import Signal
from services.strategy.history import History
from services.strategy.machine import Machine
from services.strategy.reset import Setup
from services.strategy.types import Environment, State

VERSION = 1


def dump(base: str, epoch: str, history: History, machine: Machine) -> dict[str, Any]:
    """Everything that cannot be derived from the market's history."""
    c_spot, c_perp = history.seconds.latest
    detector = machine.detector
    return {
        "version": VERSION,
        "base": base,
        "epoch": epoch,
        "t": history.t,
        "c_spot": c_spot,
        "c_perp": c_perp,
        "environment": history.environment.value,
        "hole_ages": history.seconds.hole_ages(),
        "state": machine.state.value,
        "since_t": machine.since_t,
        "setup": None if machine.setup is None else machine.setup.as_dict(),
        "signal": None if machine.signal is None else machine.signal.as_dict(),
        "position": None if machine.position is None else machine.position.as_dict(),
        "cooldown_until": machine.cooldown_until,
        "frozen_until": machine.frozen_until,
        "held": [detector.held[1], detector.held[-1]],
        "blocked": [[direction, t] for direction, t in detector.blocked_since.items()],
    }


def load(snapshot: dict[str, Any], base: str, history: History, machine: Machine) -> str:
    """Put a snapshot onto a history that ends at its second; the epoch it belongs to.

    Raises `ValueError` if it does not fit.
    """
    if snapshot.get("version") != VERSION or snapshot["base"] != base:
        raise ValueError(f"snapshot is not of {base}, version {VERSION}")
    if snapshot["t"] != history.t:
        raise ValueError(f"snapshot is of second {snapshot['t']}, history ends at {history.t}")
    c_spot, c_perp = history.seconds.latest
    history.shift(snapshot["c_spot"] - c_spot, snapshot["c_perp"] - c_perp)
    history.seconds.mark_holes(snapshot["hole_ages"])
    history.environment = Environment(snapshot["environment"])
    machine.state = State(snapshot["state"])
    machine.since_t = snapshot.get("since_t")
    setup, signal, position = snapshot["setup"], snapshot["signal"], snapshot["position"]
    machine.setup = None if setup is None else Setup.from_dict(setup)
    machine.signal = None if signal is None else Signal(**signal)
    machine.position = None if position is None else Position.from_dict(position)
    machine.cooldown_until = snapshot["cooldown_until"]
    machine.frozen_until = snapshot["frozen_until"]
    detector = machine.detector
    detector.held = {1: snapshot["held"][0], -1: snapshot["held"][1]}
    detector.blocked_since = {direction: t for direction, t in snapshot["blocked"]}
    epoch: str = snapshot["epoch"]
    return epoch
