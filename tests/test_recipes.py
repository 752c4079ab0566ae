"""Recipes, run as they would be used: a web server, progress bars, logging, tracing, other libraries."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import logging.handlers
import os
import queue
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import as_completed
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from helpers import GIL, WAIT, double, in_threads

import loomy
from loomy import Executor, Pool


def needs(module: str) -> pytest.MarkDecorator:
    parent = module.partition(".")[0]
    missing = importlib.util.find_spec(parent) is None or importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


# A web server whose handler threads share a pool.


class ThreadingServer(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(application: Any) -> Iterator[str]:
    """A thread for each request, as most WSGI servers have."""
    with make_server("127.0.0.1", 0, application, ThreadingServer, Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(WAIT)


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=WAIT) as answer:
            return int(answer.status), answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def square_root(text: str) -> float:
    return float(int(text) ** 0.5 if not text.startswith("-") else bad_request(text))


def bad_request(text: str) -> float:
    raise ValueError(f"no root of {text}")


def test_handler_threads_of_a_wsgi_server_share_a_pool() -> None:
    with Pool(square_root, size=2) as pool:

        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            try:
                answer = pool.process(environ["QUERY_STRING"], timeout=WAIT)
            except ValueError as error:
                start_response("400 Bad Request", [("Content-Type", "text/plain")])
                return [str(error).encode()]
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(answer).encode()]

        with served(application) as url:
            answers = in_threads(16, lambda i: [get(f"{url}/?{j * j}") for j in range(i, i + 3)])
            assert answers == [[(200, json.dumps(float(j))) for j in range(i, i + 3)] for i in range(16)]
            assert get(f"{url}/?-1") == (400, "no root of -1")
        assert pool.stats().submitted == 49


def test_a_request_that_takes_too_long_is_answered_in_time_and_its_job_told() -> None:
    begun, told = threading.Event(), threading.Event()

    def slow(context: loomy.Context, _: str) -> str:
        begun.set()
        if context.wait(WAIT):
            told.set()
        return "late"

    with Pool(slow, size=1, pass_context=True) as pool:

        def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            try:
                body, status = pool.process("", timeout=0.05), "200 OK"
            except loomy.JobTimedOut:
                body, status = "try again later", "503 Service Unavailable"
            start_response(status, [("Content-Type", "text/plain")])
            return [body.encode()]

        with served(application) as url:
            while not begun.is_set():  # on a busy machine a job may be too late to begin
                assert get(url) == (503, "try again later")
        assert told.wait(WAIT)


@needs("flask")
def test_handlers_of_flask_share_a_pool() -> None:
    flask: Any = importlib.import_module("flask")
    application = flask.Flask(__name__)
    with Pool(square_root, size=2) as pool:

        @application.get("/root/<text>")  # type: ignore[untyped-decorator, unused-ignore]
        def root(text: str) -> Any:
            return flask.jsonify(pool.process(text))

        with served(application) as url:
            answers = in_threads(8, lambda i: get(f"{url}/root/{i * i}")[1].strip())
        assert answers == [str(float(i)) for i in range(8)]


# Progress bars.


@pytest.fixture
def progress_bar(monkeypatch: pytest.MonkeyPatch) -> Any:
    """tqdm without the thread that looks after bars that stand still, which stays for the process."""
    bar: Any = importlib.import_module("tqdm").tqdm
    monkeypatch.setattr(bar, "monitor_interval", 0)
    return bar


@needs("tqdm")
def test_a_progress_bar_over_a_map(progress_bar: Any) -> None:
    shown = io.StringIO()
    with Executor(2) as executor:
        bar = progress_bar(executor.map(double, range(50)), total=50, file=shown, mininterval=0)
        assert list(bar) == [2 * i for i in range(50)]
    assert "50/50" in shown.getvalue()


@needs("tqdm")
def test_a_progress_bar_over_what_completes(progress_bar: Any) -> None:
    shown = io.StringIO()
    with Executor(2) as executor:
        futures = [executor.submit(double, i) for i in range(50)]
        done = [
            future.result()
            for future in progress_bar(as_completed(futures), total=50, file=shown, mininterval=0)
        ]
    assert sorted(done) == [2 * i for i in range(50)]
    assert "50/50" in shown.getvalue()


@needs("tqdm")
def test_thread_map_of_tqdm_on_our_executor(monkeypatch: pytest.MonkeyPatch, progress_bar: Any) -> None:
    concurrent: Any = importlib.import_module("tqdm.contrib.concurrent")
    used: list[str] = []

    def work(i: int) -> int:
        used.append(threading.current_thread().name)
        return 2 * i

    told: list[int] = []

    class Bar(progress_bar):  # type: ignore[misc]
        def update(self, n: int = 1) -> Any:
            told.append(n)
            return super().update(n)

    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor", Executor)
    shown = io.StringIO()
    results = concurrent.thread_map(work, range(50), max_workers=2, file=shown, mininterval=0, tqdm_class=Bar)
    assert results == [2 * i for i in range(50)]
    assert sum(told) == 50
    # Without the GIL the bar itself may lose a step: its `n += 1` is not atomic.
    assert ("50/50" if GIL else "/50") in shown.getvalue()
    assert all(name.startswith("loomy.Executor-") for name in used)


# Logging.


def test_jobs_log_with_the_names_of_their_threads(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("recipe")
    with caplog.at_level(logging.INFO), Executor(2, "crunch") as executor:
        list(executor.map(lambda i: log.info("job %d", i), range(100)))
    records = [record for record in caplog.records if record.name == "recipe"]
    assert sorted(record.args for record in records) == [(i,) for i in range(100)]  # type: ignore[type-var]
    assert {record.threadName for record in records} <= {"crunch_0", "crunch_1"}


def test_jobs_log_through_a_queue_to_one_listener() -> None:
    """The usual way to keep slow handlers out of the jobs."""
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    seen: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    log = logging.getLogger("recipe.queue")
    log.propagate = False
    log.setLevel(logging.INFO)
    handler = logging.handlers.QueueHandler(messages)  # type: ignore[arg-type, unused-ignore]
    log.addHandler(handler)
    listener = logging.handlers.QueueListener(messages, Collect())  # type: ignore[arg-type, unused-ignore]
    listener.start()
    try:
        pool: Pool[int, None] = Pool(lambda i: log.info("job %d", i), size=2)
        with pool:
            pool.process_batch(range(100))
    finally:
        listener.stop()
        log.removeHandler(handler)
    assert sorted(seen) == sorted(f"job {i}" for i in range(100))


# Tracing.


def traced_work(payload: int) -> int:
    answer = payload
    answer += 1
    return answer


def test_settrace_of_threading_sees_each_line_of_a_job() -> None:
    lines: list[int] = []
    start = traced_work.__code__.co_firstlineno

    def trace(frame: Any, event: str, _: object) -> Any:
        if frame.f_code is not traced_work.__code__:
            return None
        if event == "line":
            lines.append(frame.f_lineno - start)
        return trace

    before = threading.gettrace()
    threading.settrace(trace)
    try:
        with Executor(1) as executor:
            assert executor.submit(traced_work, 1).result(WAIT) == 2
            assert list(executor.map(traced_work, [2])) == [3]
    finally:
        threading.settrace(before)
    assert lines == [1, 2, 3] * 2


def test_setprofile_of_threading_sees_the_calls_of_jobs() -> None:
    calls: list[str] = []

    def profile(frame: Any, event: str, _: object) -> None:
        if frame.f_code is traced_work.__code__:
            calls.append(event)

    before = threading.getprofile()
    threading.setprofile(profile)
    try:
        with Executor(1) as executor:
            executor.submit(traced_work, 1).result(WAIT)
    finally:
        threading.setprofile(before)
    assert calls == ["call", "return"]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring is of 3.12")
def test_monitoring_sees_the_calls_of_jobs() -> None:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined, unused-ignore]
    tool, started = monitoring.PROFILER_ID, monitoring.events.PY_START
    seen: list[int] = []

    def on_start(code: object, _: int) -> None:
        seen.append(threading.get_ident())

    monitoring.use_tool_id(tool, "recipe")
    try:
        monitoring.register_callback(tool, started, on_start)
        monitoring.set_local_events(tool, traced_work.__code__, started)
        with Executor(1) as executor:
            worker = executor.submit(threading.get_ident).result(WAIT)
            assert [executor.submit(traced_work, i).result(WAIT) for i in range(3)] == [1, 2, 3]
    finally:
        monitoring.set_local_events(tool, traced_work.__code__, 0)
        monitoring.register_callback(tool, started, None)
        monitoring.free_tool_id(tool)
    assert seen == [worker] * 3


@needs("coverage")
@pytest.mark.parametrize(
    "core",
    [
        pytest.param("ctrace", marks=needs("coverage.tracer")),  # the C extension, which not all builds have
        "pytrace",
    ],
)
def test_coverage_sees_the_lines_of_jobs(core: str, tmp_path: Path) -> None:
    (tmp_path / "work.py").write_text("def job(i):\n    if i:\n        return 1\n    return 0\n")
    (tmp_path / "main.py").write_text(
        "import loomy, work\n"
        "with loomy.Executor(2) as executor:\n"
        "    assert executor.submit(work.job, 1).result() == 1\n"
        "with loomy.Pool(work.job, size=1, affinity='worker') as pool:\n"
        "    assert pool.process(0) == 0\n"
    )
    for command in (["run", "main.py"], ["json", "-o", "report.json"]):
        done = subprocess.run(
            [sys.executable, "-m", "coverage", *command],
            cwd=tmp_path,
            env={**os.environ, "COVERAGE_CORE": core},
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    files = json.loads((tmp_path / "report.json").read_text())["files"]
    assert files["work.py"]["missing_lines"] == []


# What takes an executor of the standard library's.


@needs("dask")
def test_dask_computes_on_our_executor() -> None:
    dask: Any = importlib.import_module("dask")
    names: set[str] = set()

    def work(i: int) -> int:
        names.add(threading.current_thread().name)
        return 2 * i

    with Executor(2, "ours") as executor:
        total = dask.delayed(sum)([dask.delayed(work)(i) for i in range(20)])
        assert total.compute(scheduler="threads", pool=executor) == 380
    assert names <= {"ours_0", "ours_1"}


@needs("joblib")
def test_joblib_computes_on_our_executor() -> None:
    joblib: Any = importlib.import_module("joblib")
    parallel: Any = importlib.import_module("joblib._parallel_backends")
    names: set[str] = set()

    class Backend(parallel.ThreadingBackend):  # type: ignore[misc]
        supports_retrieve_callback = True

        def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
            self.parallel = parallel
            self.executor = Executor(2, "ours")
            return 2

        def terminate(self) -> None:
            self.executor.shutdown()

        def submit(self, func: Any, callback: Any = None) -> Any:
            future = self.executor.submit(func)
            future.add_done_callback(callback)
            return future

        def retrieve_result_callback(self, out: Any) -> Any:
            return out.result()

    def work(i: int) -> int:
        names.add(threading.current_thread().name)
        return 2 * i

    joblib.register_parallel_backend("loomy-recipe", Backend)
    with joblib.parallel_backend("loomy-recipe", n_jobs=2):
        assert joblib.Parallel()(joblib.delayed(work)(i) for i in range(20)) == [2 * i for i in range(20)]
    assert names <= {"ours_0", "ours_1"}
