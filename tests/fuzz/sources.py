"""Where inputs come from: a seed, Hypothesis, or coverage. Each answers what it found first, if anything."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import hypothesis
from hypothesis import strategies as st

from fuzz.dice import seeded
from fuzz.examine import Examiner
from fuzz.rules import BrokenRuleError

BATCH = 500  # inputs that share their applications
TRACED = 50  # of so many batches one also measures memory, which is slow
TRIES = 3000  # for a smaller input


@dataclass(slots=True)
class Found:
    """What some inputs showed: how many there were, what the costliest took, and the first that broke a rule."""

    inputs: int = 0
    highest: dict[str, int] = field(default_factory=dict[str, int])
    broken: str = ""
    data: bytes = b""

    def add(self, other: Found) -> None:
        """Both together."""
        self.inputs += other.inputs
        for name, value in other.highest.items():
            self.highest[name] = max(self.highest.get(name, 0), value)
        if other.broken and not self.broken:
            self.broken, self.data = other.broken, other.data


def batches_of_seed(seed: int, number: int, count: int) -> Found:
    """So many inputs from the batch of that number on: valid ones, changed. The same ones for the same seed."""
    found = Found()
    while found.inputs < count and not found.broken:
        found.add(asyncio.run(batch_of_seed(seed, number, min(BATCH, count - found.inputs))))
        number += 1
    return found


def seeded_inputs(seed: int, number: int, count: int) -> Iterator[bytes]:
    """The inputs of a batch."""
    source = random.Random(f"{seed}/{number}")
    return (seeded(source) for _ in range(count))


async def batch_of_seed(seed: int, number: int, count: int) -> Found:
    """One batch, at fresh applications."""
    found = Found()
    traced = number % TRACED == 0
    if traced:
        tracemalloc.start(1)
    try:
        with Examiner() as examiner:
            found.highest = examiner.highest
            for data in seeded_inputs(seed, number, count):
                found.inputs += 1
                try:
                    await examiner.examine(data)
                except BrokenRuleError as error:
                    found.broken, found.data = in_words(error), data
                    return found
    finally:
        if traced:
            tracemalloc.stop()
    return found


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_MATERIAL = (
    st.binary(max_size=120)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
    | _JSON.map(lambda value: json.dumps(value).encode())
)


def with_hypothesis(seed: int, number: int, count: int) -> Found:
    """Hypothesis chooses, and makes what breaks a rule smaller."""
    found = Found()
    with asyncio.Runner() as runner, Examiner() as examiner:
        found.highest = examiner.highest

        @hypothesis.seed(f"{seed}/{number}")
        @hypothesis.settings(
            max_examples=count, database=None, deadline=None, suppress_health_check=list(hypothesis.HealthCheck), print_blob=False,
            phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
        )  # fmt: skip
        @hypothesis.given(st.binary(min_size=6, max_size=110), _MATERIAL)
        def run(choices: bytes, material: bytes) -> None:
            data = _input(choices, material)
            found.inputs += 1
            if found.inputs % BATCH == 0:
                examiner.renew()
            try:
                runner.run(examiner.examine(data))
            except BrokenRuleError as error:
                found.broken, found.data = in_words(error), data
                raise

        try:
            run()
        except BrokenRuleError:
            return found
        except hypothesis.errors.Flaky:
            return found  # it needs the inputs before it, which is said where it is reported
    return found


def by_coverage(seed: int, number: int, count: int) -> Found:
    """What covers new code is changed further. In a process of its own, as libFuzzer takes it over."""
    command = [sys.executable, "-m", "fuzz.guided", str(count), str(seed * 1000 + number)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = result.stdout.splitlines()
    if result.returncode or not lines:
        reasons = [line for line in result.stderr.splitlines() if not line.startswith(("INFO:", "#"))]
        return Found(broken=f"the guided run ended with {result.returncode}:\n" + "\n".join(reasons)[-3000:])
    said = json.loads(lines[-1])
    return Found(said["inputs"], said["highest"], said["broken"], bytes.fromhex(said["data"]))


def broken_by(data: bytes) -> str:
    """The rule that an input breaks on its own, in words; "" for none."""

    async def examine() -> str:
        with Examiner() as examiner:
            try:
                await examiner.examine(data)
            except BrokenRuleError as error:
                return in_words(error)
        return ""

    return asyncio.run(examine())


def smaller(data: bytes, broken: str, *, breaks: Callable[[bytes], str] = broken_by) -> bytes:
    """The shortest and plainest input found in about ``TRIES`` that breaks the same rule."""
    choices, material = data[1 : 1 + data[0]], data[1 + data[0] :]
    if breaks(_input(choices, b"")) == broken:
        material = b""
    tries, step = 0, len(choices)
    while step:
        at = 0
        while at < len(choices) and tries < TRIES:
            plain = bytes(min(step, len(choices) - at))
            without, plainer = choices[:at] + choices[at + step :], choices[:at] + plain + choices[at + step :]
            tries += 1
            if breaks(_input(without, material)) == broken:
                choices = without
                continue
            if plainer != choices and breaks(_input(plainer, material)) == broken:
                choices = plainer
            at += step
        step //= 2
    return _input(choices, material)


def _input(choices: bytes, material: bytes) -> bytes:
    return bytes((len(choices),)) + choices + material


def in_words(error: BrokenRuleError) -> str:
    """The rule, and where an exception came from."""
    cause = error.__cause__
    if cause is None or cause.__traceback__ is None:
        return str(error)
    frame = cause.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    return f"{error} at {frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}"
