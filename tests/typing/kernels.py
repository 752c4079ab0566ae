"""What checkers infer for kernels and their launches. Never run: see test_typing.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import loomy
from loomy import AsyncResult, Context, Kernel, KernelLibrary, Pool


def kernels_are_made_of_anything(function: Any, address: int) -> Kernel:
    assert_type(loomy.kernel(function), Kernel)
    return loomy.kernel(function, signature="x:f8[n]", name="one", grain=100, user_data=address)


def kernels_describe_themselves(kernel: Kernel) -> None:
    assert_type(kernel.name, str)
    assert_type(kernel.__name__, str)
    assert_type(kernel.signature, str | None)
    assert_type(kernel.grain, int)


def libraries_have_kernels_by_name(path: Path) -> None:
    library = loomy.load_kernels(path, names=["saxpy"])
    assert_type(library, KernelLibrary)
    assert_type(library.saxpy, Kernel)
    assert_type(library["saxpy"], Kernel)
    assert_type(list(library), list[str])


async def launches_have_results_of_none(pool: Pool[str, int], kernel: Kernel, ctx: Context) -> None:
    result = pool.launch(kernel, b"", 2.5, n=10, chunks=4, grain=2, ctx=ctx, timeout=1.5)
    assert_type(result, AsyncResult[None])
    await result
    kernel(b"", 2.5, n=10, chunks=4, grain=2)
