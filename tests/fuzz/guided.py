"""Inputs that coverage guides: ``python -m fuzz.guided COUNT SEED``. It needs atheris, and writes what it found as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["asgi_token_rotation"]):
    from fuzz.examine import Examiner
from fuzz.dice import seeded
from fuzz.rules import BrokenRuleError
from fuzz.sources import BATCH, Found, in_words

CORPUS = 300  # inputs to begin with


def main(count: int, seed: int) -> None:
    """Never returns: libFuzzer leaves the process."""
    found = Found()
    loop = asyncio.new_event_loop()
    examiner = Examiner().__enter__()
    found.highest = examiner.highest

    def one(data: bytes) -> None:
        found.inputs += 1
        if found.inputs % BATCH == 0:
            examiner.renew()
        try:
            loop.run_until_complete(examiner.examine(data))
        except BrokenRuleError as error:
            found.broken, found.data = in_words(error), data
        if found.broken or found.inputs >= count:
            said = {"inputs": found.inputs, "highest": found.highest, "broken": found.broken, "data": found.data.hex()}
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()
            os._exit(0)

    source = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(CORPUS):
            (Path(folder) / str(number)).write_bytes(seeded(source))
        atheris.Setup(
            [sys.argv[0], f"-seed={seed or 1}", "-max_len=160", "-rss_limit_mb=0", "-timeout=60", folder], one
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
