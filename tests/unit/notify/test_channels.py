from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from aggr_server.env import SettingsError
from services.notify.channels import NotSent, load, redacted, secrets_of, split
from services.notify.planner import Message

BOT = "tgram://123456789:AAbbCCddEEff_gg-hh/42424242"
MESSAGE = Message("title", "body", "info", ())


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """What a process writes whose own level is DEBUG."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def test_urls_are_separated_by_commas_and_lines_and_may_hold_commas() -> None:
    text = f"# mine\n{BOT}, json://host/a\n\nmailto://u:p@host?to=a@x.org,b@x.org json://other,"
    assert split(text) == [
        BOT,
        "json://host/a",
        "mailto://u:p@host?to=a@x.org,b@x.org",
        "json://other",
    ]
    assert split(" \n") == []


def test_channels_have_names_and_identities_that_tell_nothing() -> None:
    channels = load(f"{BOT}\njson://user:geheim@127.0.0.1:1/path")
    again = load("json://user:geheim@127.0.0.1:1/path")
    assert [c.label for c in channels] == ["telegram-1", "json-2"]
    assert again[0].identity == channels[1].identity != channels[0].identity
    assert len(channels[0].identity) == 16


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("json://127.0.0.1\nnosuchthing://token-abc/x", "URL 2 of 2 "),
        ("token-abc json://127.0.0.1", "URL 1 of 2 "),
        ("json://127.0.0.1,tgram://token-abc", "URL 2 of 2 "),
        ("token-abc", "URL 1 of 1 "),
    ],
)
def test_a_bad_url_is_counted_but_not_shown(text: str, number: str, written: io.StringIO) -> None:
    with pytest.raises(SettingsError, match=f"NOTIFY_URLS: .*{number}.*Correct it") as error:
        load(text)
    assert "token-abc" not in str(error.value) + written.getvalue()


async def test_a_failure_is_told_without_secrets(written: io.StringIO) -> None:
    (channel,) = load("json://user:geheim@127.0.0.1:1/Token123456")
    with pytest.raises(NotSent, match="Connection error") as error:
        await channel.send(MESSAGE)
    channel.close()
    for secret in ("geheim", "Token123456"):
        assert secret not in str(error.value) + written.getvalue()


def test_every_part_of_a_url_is_hidden_but_common_words_are_not_torn() -> None:
    secrets = secrets_of("https://com:p%40ss@host.example/api/abcdefghij?token=xyz")
    text = "common: p@ss p%40ss /botabcdefghij/ token=xyz host.example com"
    assert redacted(text, secrets) == "common: *** *** /bot***/ ***=*** *** ***"


def test_apprise_is_imported_only_if_there_is_a_url() -> None:
    code = (
        "import sys; from services import system_monitor; from services.notify import channels; "
        "assert channels.load('') == []; assert 'apprise' not in sys.modules"
    )
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], env=environ, check=True)
