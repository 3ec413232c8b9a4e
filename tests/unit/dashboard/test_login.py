"""Password, sessions, and the limit to guessing."""

from __future__ import annotations

import base64

import pytest

from services.dashboard.login import (
    ATTEMPTS,
    ATTEMPTS_IN_ALL,
    MAX_SESSIONS,
    SESSION_S,
    WINDOW_S,
    Login,
    session_of,
)

PASSWORD = "k0123"
HOME = "10.0.0.1"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def login(clock: Clock) -> Login:
    return Login(PASSWORD, clock)


def opened(login: Login, address: str = HOME) -> str:
    token = login.open(PASSWORD, address)
    assert token is not None
    return token


def test_the_password_opens_a_session_that_ends(login: Login, clock: Clock) -> None:
    session = session_of(opened(login))

    assert login.holds(session)
    clock.now += SESSION_S
    assert not login.holds(session)


@pytest.mark.parametrize("password", ["", "k012", "k01234", "K0123", "\u00e9"])
def test_anything_else_does_not(login: Login, password: str) -> None:
    assert login.open(password, HOME) is None


def test_a_session_is_no_token_and_no_token_is_no_session(login: Login) -> None:
    token = opened(login)

    assert not login.holds(token)
    assert not login.holds("")
    assert session_of("") == ""
    assert token != opened(login)


def test_logging_out_ends_it_at_once(login: Login) -> None:
    session, other = session_of(opened(login)), session_of(opened(login))

    login.close(session)

    assert (login.holds(session), login.holds(other)) == (False, True)


def test_sessions_are_bounded_and_the_oldest_goes(login: Login) -> None:
    first = session_of(opened(login))
    last = [session_of(opened(login)) for _ in range(MAX_SESSIONS)][-1]

    assert (login.holds(first), login.holds(last)) == (False, True)


def test_who_guesses_must_wait_even_with_the_right_password(login: Login, clock: Clock) -> None:
    for _ in range(ATTEMPTS):
        assert login.attempts.wait_s(HOME) == 0
        login.open("wrong", HOME)
        clock.now += 1

    assert login.open(PASSWORD, HOME) is None
    assert login.attempts.wait_s(HOME) == pytest.approx(WINDOW_S - ATTEMPTS)
    assert login.open(PASSWORD, "10.0.0.2") is not None
    clock.now += WINDOW_S - ATTEMPTS
    assert login.open(PASSWORD, HOME) is not None


def test_many_addresses_together_must_wait_as_well(login: Login) -> None:
    for i in range(ATTEMPTS_IN_ALL):
        login.open("wrong", f"10.0.1.{i}")

    assert login.open(PASSWORD, HOME) is None
    assert login.attempts.wait_s(HOME) == WINDOW_S


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "right"),
    [
        (basic(f"prometheus:{PASSWORD}"), True),
        (basic(f":{PASSWORD}"), True),
        (basic("prometheus:wrong"), False),
        (basic(PASSWORD), False),
        ("Basic ???", False),
        (f"Bearer {PASSWORD}", False),
        ("", False),
    ],
)
def test_http_basic(login: Login, header: str, right: bool) -> None:
    assert login.basic(header, HOME) is right
