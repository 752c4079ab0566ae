"""Mistakes that both checkers must find, on each line that says to ignore its type. Never run."""

from __future__ import annotations

import loomy.aio
from loomy import Context, Executor, Hooks, Pool, Worker, kernel


def parse(line: str) -> int:
    raise NotImplementedError


def parse_until_cancelled(ctx: Context, line: str) -> int:
    raise NotImplementedError


class Parser(Worker[str, int]):
    def process(self, ctx: Context, payload: str) -> int:
        raise NotImplementedError


class NumberHooks(Hooks[int, int]):
    pass


pool = Pool(parse)
pool.process(7)  # type: ignore
pool.process_async(b"")  # type: ignore
pool.process_batch([1, 2])  # type: ignore
pool.map(range(3))  # type: ignore
pool.process("", 1.0)  # type: ignore
pool.process("", timeout="1")  # type: ignore
text: str = pool.process("")  # type: ignore
pool.set_hooks(NumberHooks())  # type: ignore
pool.queue_length = 3  # type: ignore

Pool(7)  # type: ignore
Pool(parse, "4")  # type: ignore
Pool(parse, on_full="explode")  # type: ignore
Pool(parse, affinity="moon")  # type: ignore
Pool(parse, colour="red")  # type: ignore
Pool(parse, hooks=NumberHooks)  # type: ignore
Pool(parse_until_cancelled)  # type: ignore
Pool(parse, pass_context=True)  # type: ignore

Pool.from_workers(Parser()).process("")  # type: ignore
Pool.from_workers(Parser).process(7)  # type: ignore
Pool.from_workers(Parser, on_full="caller_runs")  # type: ignore
Worker()  # type: ignore

Pool.from_callbacks().process(7)  # type: ignore
Pool.from_callbacks().process(parse)  # type: ignore
other: str = Pool.from_callbacks().process(lambda: 7)  # type: ignore

pool.launch(parse)  # type: ignore
kernel(parse, names="x")  # type: ignore
kernel(parse)(b"", n="1")  # type: ignore


def an_executor_keeps_the_signature(executor: Executor) -> None:
    executor.submit(len, 1)  # type: ignore
    executor.submit(len)  # type: ignore
    Executor(on_full="wait")  # type: ignore


async def to_thread_keeps_the_signature() -> None:
    await loomy.aio.to_thread(len, 1)  # type: ignore
    await loomy.aio.to_thread(len)  # type: ignore
    await loomy.aio.to_thread(parse, line=b"")  # type: ignore
    (await loomy.aio.to_thread(len, "")).upper()  # type: ignore
