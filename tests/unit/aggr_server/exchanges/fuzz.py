"""Frames as no venue should send them: mutations of real ones, the same for the same seed."""

from __future__ import annotations

import gzip
import random
import re
import zlib
from collections.abc import Callable, Iterator

_GZIP = b"\x1f\x8b"
_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?")
_TEXT = re.compile(rb'"[^"\\]*"')
_VALUE = re.compile(rb'(?<=[:,\[])(?:"[^"\\]*"|-?\d+(?:\.\d+)?|true|false|null)(?=[,\]}])')
_MEGABYTE = 1_000_000

NUMBERS = (
    *(b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"1e308", b"1e-400", b"-0.0", b"0"),
    *(b"9" * 19, b"9" * 40, b"9" * 400, b"9" * 5000, b"-1", b"1.5", b"9223372036854775808"),
    *(b'"nan"', b'"inf"', b'"-Infinity"', b'"1e999"', b'"1e308"', b'"0"', b'"-5"', b'""', b'" 1"'),
)
OTHERS = (
    *(b"null", b"true", b"[]", b"{}", b"[[]]", b'""', b'"x"', b'"\xff\xfe"', b'"\\ud800"', b"'a'"),
    *(b'"' + b"A" * 70_000 + b'"', b"[" * 3000 + b"]" * 3000, b'{"a":' * 3000 + b"1" + b"}" * 3000),
)


class Mutator:
    """Mutations of `frames`."""

    def __init__(self, frames: list[bytes], seed: int) -> None:
        self._frames = frames
        self._random = random.Random(seed)
        self._ways: list[Callable[[bytes], bytes]] = [
            *[self._another_number] * 6,
            *[self._another_value] * 3,
            self._truncated,
            self._negative,
            self._corrupted,
            self._cut,
            self._repeated,
            self._spliced,
            self._another_text,
            self._nested,
        ]

    def frame(self) -> bytes:
        """A frame, mutated once to three times."""
        frame = self._random.choice(self._frames)
        packed = frame.startswith(_GZIP)
        if packed and self._random.random() < 0.8:
            return gzip.compress(self._mutated(gzip.decompress(frame)), 1)
        return self._mutated(frame)

    def huge(self) -> Iterator[bytes]:
        """Frames of ten megabytes."""
        frame = max(self._frames, key=len)
        packed = frame.startswith(_GZIP)
        plain = gzip.decompress(frame) if packed else frame
        long = b'"' + b"A" * 10 * _MEGABYTE + b'"'
        for huge in (
            plain + b" " * 10 * _MEGABYTE,
            plain * (10 * _MEGABYTE // len(plain) + 1),
            _VALUE.sub(lambda _: long, plain, count=1),
            _NUMBER.sub(b"9" * 10 * _MEGABYTE, plain, count=1),
            b"[" * 10 * _MEGABYTE,
            plain[:-1]
            + b',"extra":'
            + b'{"a":' * 2 * _MEGABYTE
            + b"1"
            + b"}" * (2 * _MEGABYTE + 1),
        ):
            yield gzip.compress(huge, 1) if packed else huge

    def _mutated(self, frame: bytes) -> bytes:
        for _ in range(self._random.choice((1, 1, 1, 2, 3))):
            frame = self._random.choice(self._ways)(frame)
        return frame

    def _substitute(self, pattern: re.Pattern[bytes], frame: bytes, by: bytes) -> bytes:
        found = list(pattern.finditer(frame))
        if not found:
            return frame + by
        place = self._random.choice(found)
        return frame[: place.start()] + by + frame[place.end() :]

    def _another_number(self, frame: bytes) -> bytes:
        return self._substitute(_NUMBER, frame, self._random.choice(NUMBERS))

    def _another_value(self, frame: bytes) -> bytes:
        return self._substitute(_VALUE, frame, self._random.choice((*NUMBERS, *OTHERS)))

    def _another_text(self, frame: bytes) -> bytes:
        return self._substitute(_TEXT, frame, self._random.choice(OTHERS))

    def _negative(self, frame: bytes) -> bytes:
        found = list(_NUMBER.finditer(frame))
        if not found:
            return b"-" + frame
        place = self._random.choice(found)
        return frame[: place.start()] + b"-" + frame[place.start() :]

    def _truncated(self, frame: bytes) -> bytes:
        return frame[: self._random.randrange(len(frame) + 1)]

    def _corrupted(self, frame: bytes) -> bytes:
        changed = bytearray(frame)
        for _ in range(self._random.randint(1, 8)):
            if changed:
                changed[self._random.randrange(len(changed))] = self._random.randrange(256)
        return bytes(changed)

    def _cut(self, frame: bytes) -> bytes:
        start, end = sorted(self._random.randrange(len(frame) + 1) for _ in range(2))
        return frame[:start] + frame[end:]

    def _repeated(self, frame: bytes) -> bytes:
        start, end = sorted(self._random.randrange(len(frame) + 1) for _ in range(2))
        return frame[:end] + frame[start:]

    def _spliced(self, frame: bytes) -> bytes:
        other = self._random.choice(self._frames)
        middle = self._random.randrange(len(frame) + 1)
        return frame[:middle] + other[self._random.randrange(len(other) + 1) :]

    def _nested(self, frame: bytes) -> bytes:
        depth = self._random.choice((50, 1000, 5000))
        return b"[" * depth + frame + b"]" * depth


def decompressed(frame: bytes) -> bytes:
    """What a frame says, for messages; itself if it is not compressed."""
    try:
        return gzip.decompress(frame) if frame.startswith(_GZIP) else frame
    except (OSError, EOFError, zlib.error):
        return frame
