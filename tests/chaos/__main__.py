"""Ten minutes of chaos, or as long as asked: ``python -m chaos``, configured by SEED, MINUTES, STORE and BROWSERS."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from chaos import journal, report, run, verdict
from chaos.settings import BROWSERS, Plan

STORES = ("redis", "sqlite")


def say(text: str) -> None:
    """To whoever started this, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    """One run on each store; the exit code says whether anything happened that nothing excuses."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that it ends what it started
    seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
    stores = [os.environ["STORE"]] if os.environ.get("STORE") else list(STORES)
    minutes = float(os.environ.get("MINUTES") or 10)
    browsers = int(os.environ.get("BROWSERS") or BROWSERS)
    say(f"chaos on {' and '.join(stores)} with seed {seed}, {minutes:g} minutes in all")
    failed = 0
    for store in stores:
        plan = Plan(
            store=store,
            seed=seed,
            seconds=minutes * 60 / len(stores),
            folder=Path(tempfile.mkdtemp(prefix=f"chaos-{store}-")),
            browsers=browsers,
            workers=int(os.environ.get("WORKERS") or 4),
            faults=os.environ.get("FAULTS") != "0",
        )
        failed += not _passed(plan)
    say(f"{len(stores) - failed} passed, {failed} failed")
    return 1 if failed else 0


def _passed(plan: Plan) -> bool:
    counters = asyncio.run(run.play(plan))
    lines = journal.read(plan.folder)
    found = verdict.judge(lines, reuses=counters["reuses"])
    say(report.table(plan, found))
    if found.cases:
        say(f"{report.cases(found, lines)}\nThe journals are in {plan.folder}.")
    elif not os.environ.get("KEEP"):
        shutil.rmtree(plan.folder)
    return not found.cases


if __name__ == "__main__":
    sys.exit(main())
