"""Digests of the public images: `docker/images.lock`, filled in by `scripts/pin_images.sh`.

A tag can be given to another image at any time, a digest cannot. The lock is apart from the Compose
files and Dockerfiles, because an image that stands in for a public one has its tag and no digest.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.stack.compose import docker
from scripts.stack.running import StackError

ROOT = Path(__file__).resolve().parents[2]
LOCK = Path("docker") / "images.lock"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
ASK_TIMEOUT_S = 60

Ask = Callable[[str], str]


def read(root: Path) -> dict[str, str]:
    """Image with its tag -> digest, empty if none is known. Raises `StackError`."""
    found: dict[str, str] = {}
    for number, line in enumerate((root / LOCK).read_text(encoding="utf-8").splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        image, digest = words[0], "".join(words[1:])
        if ":" not in image or (digest and not DIGEST.fullmatch(digest)):
            raise StackError(
                f"{LOCK}, line {number}: wanted IMAGE:TAG and a digest sha256:..., found {line!r}. "
                "Correct it, or remove the digest and run ./scripts/pin_images.sh."
            )
        found[image] = digest
    return found


def reference(image: str, digests: Mapping[str, str]) -> str:
    """What to pull: `image@digest`, or the image as it is if no digest is known."""
    digest = digests.get(image, "")
    return f"{image.rpartition(':')[0]}@{digest}" if digest else image


def ask(image: str) -> str:
    """The digest a registry has for the tag, of all platforms together. Raises `StackError`."""
    form = "{{.Manifest.Digest}}"
    answer = docker(
        "buildx", "imagetools", "inspect", image, "--format", form, timeout_s=ASK_TIMEOUT_S
    )
    digest = answer.strip()
    if not DIGEST.fullmatch(digest):
        raise StackError(f"{image}: the registry answers {digest!r} instead of a digest.")
    return digest


def pin(root: Path, *, upgrade: bool, asked: Ask = ask) -> list[str]:
    """Fill in the digests that are missing, or all of them anew; what was changed, one line each.

    The file is written only if a registry answered for every image. Raises `StackError`.
    """
    before = read(root)
    after = {image: asked(image) if upgrade or not old else old for image, old in before.items()}
    changed = [image for image in before if before[image] != after[image]]
    if changed:
        path = root / LOCK
        head = [x for x in path.read_text(encoding="utf-8").splitlines() if x.startswith("#")]
        lines = [*head, *(f"{image} {digest}" for image, digest in sorted(after.items()))]
        temporary = path.with_suffix(".new")
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.replace(path)
    return [f"{image}: {before[image] or 'unknown'} -> {after[image]}" for image in changed]


def main(arguments: list[str]) -> int:
    """Entry point of `pin_images.sh`; answers the exit status."""
    parser = argparse.ArgumentParser(
        prog="pin_images.sh",
        description="Write the digests of the public images into docker/images.lock.",
    )
    parser.add_argument("--upgrade", action="store_true", help="ask for those that are known, too")
    chosen = parser.parse_args(arguments)
    try:
        changed = pin(ROOT, upgrade=chosen.upgrade)
    except StackError as error:
        print(f"{error}\nNothing was changed. Let this host reach the registry.", file=sys.stderr)
        return 1
    for line in changed or ["Every image has its digest."]:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
