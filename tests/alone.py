"""Which tests `pytest-run-parallel` may not run on several threads at once, and why.

A test is found out by what it uses, else listed by its module or its name. The plugin adds to this what it
finds itself: `monkeypatch`, the captures of output, `pytest.warns` and `gc.collect`, which are the process's.
"""

from __future__ import annotations

import types
from collections.abc import Iterator

import pytest

PROCESS = "starts processes, which takes long and is no more than one thread does"
SIGNALS = "signals reach the main thread, and a thread of the plugin is another"

# Names that a test, or a function of its module that it calls, mentions.
USES = {
    "run_script": PROCESS,
    "run_program": PROCESS,
    "subprocess": PROCESS,
    "assert_soon_interrupted": PROCESS,
    "unraisable_errors": "sys.unraisablehook is the process's",
    "unraisablehook": "sys.unraisablehook is the process's",
    "excepthook": "threading.excepthook is the process's",
    "settrace": "tracing is the process's",
    "setprofile": "profiling is the process's",
    "setswitchinterval": "the switch interval is the process's",
    "signal": SIGNALS,
    "jobs_of": "counts the jobs of a pool that the fixture lends to all",
    "get_objects": "counts the objects of the process",
    "active_count": "counts the threads of the process",
    "default_pool": "the default pool is the process's",
    "getLogger": "loggers are the process's",
    "MonkeyPatch": "what it puts in another's place is the process's",
    "monitoring": "the tools of sys.monitoring are the process's",
    "sched_setaffinity": "binds threads to a CPU, whoever else runs",
}

FIXTURES = {
    "caplog": "what is logged is the process's",
    "interruptible": SIGNALS,
}

MODULES = {"test_consumer": PROCESS, "test_typing": PROCESS}

OF_TO_THREAD = "fills the threads of aio.to_thread, which are the process's"
DEFERRED = "what a native thread leaves, the main thread lets go of; that one waits for the plugin's"

RACES = "races threads of its own against each other, as many as there are CPUs, and often"

TESTS: dict[str, str] = {
    "test_aio.test_a_closed_pool_is_replaced": "closes the pool of aio.to_thread, which is the process's",
    "test_aio.test_a_call_that_has_not_started_when_it_is_cancelled_never_does": OF_TO_THREAD,
    "test_aio_inside_jobs.test_as_many_loops_in_to_thread_as_there_are_threads": OF_TO_THREAD,
    "test_aio_inside_jobs.test_to_thread_ten_deep": OF_TO_THREAD,
    "test_aio_inside_jobs.test_to_thread_inside_to_thread_runs_on_other_threads": OF_TO_THREAD,
    "test_contextvars.test_every_way_in_from_a_loop_copies_the_variables_of_its_task": OF_TO_THREAD,
    "test_batch.test_any_iterable_is_taken": "its parameter is an iterator, which one thread uses up",
    "test_close.test_ending_joins_the_worker_threads": "looks at the threads of the process",
    "test_executor_wait.test_100_000_racing_cancels_waits_and_completions_lose_nothing": RACES,
    "test_executor_wait.test_a_future_that_has_said_it_ended_says_no_other_thing_to_whoever_looks_first": (
        RACES
    ),
    "test_go_parity.test_defect_a_deadline_between_two_hand_off_steps_wedges_the_worker_for_ever": RACES,
    "test_kernels_lifetime.test_03_bytearray_can_be_resized_soon_after_a_dropped_result": DEFERRED,
    "test_kernels_lifetime.test_03_weakrefs_to_arguments_die_soon_after_a_dropped_result": DEFERRED,
    "test_threads.test_threads_of_an_idle_pool_are_never_scheduled": "looks at the threads of the process",
}


def _names(code: types.CodeType, module: dict[str, object], seen: set[types.CodeType]) -> Iterator[str]:
    """What the code mentions, and what the functions of its module mention that it mentions."""
    if code in seen:
        return
    seen.add(code)
    for name in code.co_names:
        yield name
        called = module.get(name)
        called = getattr(called, "__wrapped__", called)
        if isinstance(called, types.FunctionType) and called.__globals__ is module:
            yield from _names(called.__code__, module, seen)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant, module, seen)


def why_alone(item: pytest.Function) -> str | None:
    """Why only one thread at a time may run this test; None if several may."""
    module = item.path.stem
    name = item.originalname
    for table, key in ((MODULES, module), (TESTS, f"{module}.{name}")):
        if key in table:
            return table[key]
    for fixture in item.fixturenames:
        if fixture in FIXTURES:
            return FIXTURES[fixture]
    function = getattr(item.obj, "__func__", item.obj)
    function = getattr(getattr(function, "hypothesis", None), "inner_test", function)
    for mentioned in _names(function.__code__, function.__globals__, set()):
        if mentioned in USES:
            return USES[mentioned]
    return None
