"""One run on one store: starts the processes, lets browsers and faults loose, and ends everything."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

from chaos import settings
from chaos.browser import Network
from chaos.crowd import browse
from chaos.faults import BackEndFaults, NoFaults, RedisFaults, SQLiteFaults, Workers, befall
from chaos.journal import Journal
from chaos.processes import Process, python_process, redis_process
from chaos.settings import Plan


class Scene:
    """The processes of a run."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        seed, self._code = str(plan.seed), settings.snapshot(plan.folder)
        self.back_end = python_process("chaos.token_back_end", "back end", plan.folder, code=self._code, SEED=seed)
        self.back_end_url = f"http://127.0.0.1:{self.back_end.port}"
        self.redis = redis_process(plan.folder) if plan.store == "redis" else None
        self.file = plan.folder / "sessions.db"
        self.workers = [self._worker(number) for number in range(plan.workers)]

    def _worker(self, number: int) -> Process:
        skew = settings.WORKER_SKEWS[number % len(settings.WORKER_SKEWS)] if self.plan.faults else 0.0
        environment = {"WORKER": f"w{number}", "CLOCK_SKEW": str(skew), "BACK_END": self.back_end_url}
        environment["STORE"] = self._url()
        return python_process("chaos.application", f"w{number}", self.plan.folder, code=self._code, **environment)

    def _url(self) -> str:
        if self.redis is not None:
            return f"redis://127.0.0.1:{self.redis.port}/0"
        return f"sqlite:///{self.file}" if self.plan.store == "sqlite" else "memory://"

    def everything(self) -> list[Process]:
        """In the order of their start."""
        return [*([self.redis] if self.redis else []), self.back_end, *self.workers]

    async def start(self) -> None:
        """Start them all and wait until they listen."""
        for process in self.everything():
            process.start()
        for process in self.everything():
            await process.ready()

    def end(self) -> None:
        """Kill them all."""
        for process in reversed(self.everything()):
            process.kill()

    def store_faults(self, journal: Journal, chance: random.Random) -> RedisFaults | SQLiteFaults | NoFaults:
        """What can befall this store."""
        if self.redis is not None:
            return RedisFaults(self.redis, journal, chance)
        return SQLiteFaults(self.file, journal, chance) if self.plan.store == "sqlite" else NoFaults()


async def play(plan: Plan) -> dict[str, Any]:
    """The whole run; the back end's own counters in the end."""
    scene = Scene(plan)
    journal = Journal(plan.folder / "harness.jsonl", by="harness")
    network = Network({worker.name: worker.port for worker in scene.workers})
    try:
        await scene.start()
        until = time.time() + plan.seconds
        back_end = BackEndFaults(scene.back_end_url, journal, random.Random(f"{plan.seed}/orders"))
        async with asyncio.TaskGroup() as group:
            browsers = Journal(plan.folder / "browsers.jsonl")
            group.create_task(browse(network, browsers, seed=plan.seed, browsers=plan.browsers, until=until))
            if plan.faults:
                for work in _faults(scene, journal, back_end, until=until - settings.QUIET):
                    group.create_task(work)
        _died_alone(scene, journal)
        return await back_end.order({})
    finally:
        scene.end()
        await network.client.aclose()
        journal.close()


def _faults(scene: Scene, journal: Journal, back_end: BackEndFaults, *, until: float) -> list[Any]:
    chance = random.Random(f"{scene.plan.seed}/faults")
    workers = Workers(scene.workers, journal, chance)
    store = scene.store_faults(journal, chance)
    deeds = [(8, workers.kill), (4, workers.stall), (2, workers.stop), (3, store.restart), (3, store.stall)]
    orders = [(1, back_end.bad_minute)]
    return [
        befall(deeds, chance, until=until, between=(1.5, 4.0)),
        befall(orders, random.Random(f"{scene.plan.seed}/bad minutes"), until=until, between=(0.5, 5.0)),
    ]


def _died_alone(scene: Scene, journal: Journal) -> None:
    for process in scene.everything():
        if process.ended():
            journal.write("wrong", how="a process ended by itself", what=process.name, family=None)
