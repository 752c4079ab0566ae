"""A project that builds kernels against loomy's headers, tests/consumer, as its users would build it."""

from __future__ import annotations

import array
import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from helpers import in_threads

import loomy

PROJECT = Path(__file__).parent / "consumer"
ROOT = Path(__file__).parent.parent
CMAKE = shutil.which("cmake")

pytestmark = [
    pytest.mark.skipif(CMAKE is None, reason="needs cmake"),
    pytest.mark.timeout(180),  # it compiles
]

# There is no stable ABI for free-threaded builds before Python 3.15.
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
EXTENSION = sysconfig.get_config_var("EXT_SUFFIX")

# What an editable install says is the source tree, and a wheel has the same files.
LAYOUTS = {"installed": loomy.get_cmake_dir(), "source tree": str(ROOT / "python" / "loomy" / "cmake")}


def cmake(*arguments: str) -> None:
    done = subprocess.run([CMAKE or "cmake", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session", params=LAYOUTS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with what the project builds."""
    folder = tmp_path_factory.mktemp("consumer")
    cmake(
        *("-S", str(PROJECT), "-B", str(folder)),
        f"-Dloomy_DIR={LAYOUTS[request.param]}",
        f"-DPython_EXECUTABLE={sys.executable}",
    )
    cmake("--build", str(folder))
    return folder


@pytest.fixture
def consumer(built: Path) -> Any:
    (path,) = built.glob("consumer.*")
    spec = importlib.util.spec_from_file_location("consumer", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def nested_sum(n: int) -> int:
    return sum(sum(range(i % 10 + 1)) for i in range(n))


def test_08_the_extension_is_of_the_stable_abi_and_needs_nothing_of_loomy_to_link(built: Path) -> None:
    (path,) = built.glob("consumer.*")
    if sys.platform == "linux":
        assert path.name == f"consumer{EXTENSION if FREE_THREADED else '.abi3.so'}"
        needed = subprocess.run(["readelf", "-d", path], capture_output=True, text=True, check=True).stdout
        assert "NEEDED" in needed
        assert "loomy" not in needed
        assert "libpython" not in needed


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if importlib.util.find_spec("scikit_build_core") is None:
        pytest.skip("needs scikit-build-core, of the extra [test]")
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        "-m",
        "pip",
        "wheel",
        "--no-index",
        "--no-build-isolation",
        "--no-deps",
        "--wheel-dir",
        str(folder),
    ]
    done = subprocess.run(
        [sys.executable, *build, str(PROJECT)],
        env={**os.environ, "LOOMY_CMAKE_DIR": loomy.get_cmake_dir(), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.whl")
    return made


def test_08_its_wheel_is_for_every_python_with_the_stable_abi(wheel: Path) -> None:
    own = f"cp{sys.version_info[0]}{sys.version_info[1]}t"
    tags = f"{own[:-1]}-{own}" if FREE_THREADED else "cp311-abi3"
    assert wheel.name.startswith(f"consumer-1.0-{tags}-")
    modules = [name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("consumer.")]
    if sys.platform == "linux":
        assert modules == [f"consumer{EXTENSION if FREE_THREADED else '.abi3.so'}"]


def other_pythons() -> list[str]:
    """A CPython of each other version with the stable ABI that the wheel is for."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates = [*map(str, sorted(pyenv.glob("3.*/bin/python3")))]
    candidates += [path for minor in range(11, 21) if (path := shutil.which(f"python3.{minor}")) is not None]
    found: dict[str, str] = {}
    for python in candidates:
        tell = (
            "import sys, sysconfig; v = sys.version_info; abi3 = sys.implementation.name == 'cpython' and "
            "v >= (3, 11) and not sysconfig.get_config_var('Py_GIL_DISABLED'); print(abi3 and v[:2] or '')"
        )
        done = subprocess.run([python, "-I", "-c", tell], capture_output=True, text=True)
        if done.returncode == 0 and done.stdout.strip() not in ("", str(sys.version_info[:2])):
            found.setdefault(done.stdout.strip(), python)
    return list(found.values())


# No loomy was built for that Python, so the host is one whose functions are written here.
IN_ANOTHER_PYTHON = """
import array, ctypes, sys, types
sys.path.insert(0, sys.argv[1])

class Host(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_uint32), ("abi", ctypes.c_uint32), ("default_pool", ctypes.c_void_p),
                ("num_workers", ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)),
                *((name, ctypes.c_void_p) for name in ("launch", "stop", "wait", "parallel_for"))]
host = Host(ctypes.sizeof(Host), 1 << 16, num_workers=Host._fields_[3][1](lambda pool: 42))
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
name = b"loomy._host_api.v1"
sys.modules["loomy"] = loomy = types.ModuleType("loomy")
sys.modules["loomy._host_api"] = loomy._host_api = types.ModuleType("loomy._host_api")
loomy._host_api.v1 = new(ctypes.addressof(host), name, None)

import consumer
assert consumer.num_workers() == 42
assert "loomy.kernel.v1" in repr(consumer.saxpy_kernel)
try:
    consumer.clip(array.array("f", [1]), 0.0, 1.0)
except TypeError as error:
    assert "array of doubles" in str(error)
else:
    raise AssertionError("no error")
print(consumer.__file__)
"""


@pytest.mark.skipif(FREE_THREADED, reason="a free-threaded Python has no stable ABI yet")
def test_08_its_wheel_works_in_another_python(wheel: Path, tmp_path: Path) -> None:
    pythons = other_pythons()
    if not pythons:
        pytest.skip("there is no other CPython of 3.11 or newer, in PYENV_ROOT or on PATH")
    zipfile.ZipFile(wheel).extractall(tmp_path)
    for python in pythons:
        done = subprocess.run(
            [python, "-I", "-c", IN_ANOTHER_PYTHON, str(tmp_path)], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert Path(done.stdout.strip()).parent == tmp_path


def test_a_version_of_the_abi_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    for wanted, found in [("1.0", True), ("2.0", False), ("1.99", False)]:
        project = tmp_path / wanted
        project.mkdir()
        (project / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.18...4.0)\n"
            "project(version_test LANGUAGES NONE)\n"
            f"find_package(loomy {wanted} CONFIG REQUIRED)\n"
        )
        command = [CMAKE or "cmake", "-S", str(project), "-B", str(project / "build")]
        done = subprocess.run(
            [*command, f"-Dloomy_DIR={loomy.get_cmake_dir()}"], capture_output=True, text=True
        )
        assert (done.returncode == 0) == found, done.stdout + done.stderr


def test_a_shared_library_has_its_kernels_without_python(built: Path) -> None:
    (path,) = built.glob("libkernels.*")
    library = ctypes.CDLL(str(path))

    class Kernel(ctypes.Structure):
        _fields_ = [
            ("struct_size", ctypes.c_uint32),
            ("abi", ctypes.c_uint32),
            ("name", ctypes.c_char_p),
            ("signature", ctypes.c_char_p),
        ]

    signatures = {
        "clip": b"x:f8[n]! low:f8 high:f8",
        "saxpy": b"f8[n] f8[n]! f8",
        "partial_sums": b"f8[n] f8[:]!",
    }
    for name, signature in signatures.items():
        getter = getattr(library, f"loomy_kernel_{name}")
        getter.restype = ctypes.POINTER(Kernel)
        kernel = getter().contents
        assert (kernel.name, kernel.signature, kernel.abi >> 16) == (name.encode(), signature, 1)


def test_its_capsules_and_its_library_are_kernels_for_python(built: Path, consumer: Any) -> None:
    (path,) = built.glob("libkernels.*")
    library = loomy.load_kernels(str(path))
    for saxpy, clip in [
        (loomy.kernel(consumer.saxpy_kernel), loomy.kernel(consumer.clip_kernel)),
        (library.saxpy, library.clip),
    ]:
        x, y = array.array("d", range(10_000)), array.array("d", [1.0]) * 10_000
        saxpy(x, y, 2.0)
        assert y == array.array("d", (1.0 + 2.0 * i for i in range(10_000)))
        clip(x, 5.0, 7.0)
        assert (min(x), max(x), x[6]) == (5.0, 7.0, 6.0)
        with pytest.raises(ValueError, match="low is 2 and high only 1"):
            clip(x, 2.0, 1.0)


def test_11_a_reduction_has_the_same_bits_for_1_2_and_7_workers(consumer: Any) -> None:
    values = array.array("d", (1.0 / (3 * i + 1) for i in range(50_000)))
    partial_sums = loomy.kernel(consumer.partial_sums_kernel)
    seen = set()
    for size in (1, 2, 7):
        with loomy.Pool.from_callbacks(size) as pool:
            sums = array.array("d", [0.0]) * 16
            pool.launch(partial_sums, values, sums, chunks=16).wait()
            seen.add(sums.tobytes())
    assert len(seen) == 1
    with pytest.raises(IndexError, match="no place for every chunk"):
        partial_sums(values, array.array("d", [0.0]))


def test_a_launch_of_an_extension_runs_on_the_default_pool(consumer: Any) -> None:
    values = array.array("d", range(100_000))
    consumer.clip(values, 5.0, 50.0)
    assert values == array.array("d", (min(max(x, 5.0), 50.0) for x in range(100_000)))
    consumer.clip(memoryview(values)[::-2], 6.0, 7.0)  # strided, from the end
    assert list(values[:12]) == [5, 6, 5, 6, 5, 6, 6, 7, 8, 7, 10, 7]
    stats = loomy.default_pool().stats()
    assert (stats.submitted, stats.completed) == (2, 2)
    assert consumer.num_workers() == loomy.default_pool().size == loomy.usable_cpus()


def test_an_error_of_a_kernel_reaches_the_extension_with_its_message(consumer: Any) -> None:
    with pytest.raises(ValueError, match="low is 5 and high only 1"):
        consumer.clip(array.array("d", [1.0]), 5.0, 1.0)
    with pytest.raises(ValueError, match="nested_sum"):
        consumer.nested_sum(1000, 77)
    assert loomy.default_pool().stats().failed == 2


def test_loops_nest_in_loops_in_jobs_on_every_worker(consumer: Any) -> None:
    def job() -> tuple[int, int]:
        return consumer.nested_sum(300), consumer.nested_sum_without_gil(300)

    assert job() == (nested_sum(300),) * 2
    pool = loomy.default_pool()
    results = pool.process_batch([job] * (4 * pool.size))
    assert results.results == [(nested_sum(300),) * 2] * (4 * pool.size)
    with loomy.Pool.from_callbacks(1) as other:
        assert other.process(job) == (nested_sum(300),) * 2


def test_loops_from_eight_threads_at_once(consumer: Any) -> None:
    def loops(thread: int) -> list[int]:
        call = consumer.nested_sum if thread % 2 else consumer.nested_sum_without_gil
        return [call(100 + thread) for _ in range(20)]

    assert in_threads(8, loops) == [[nested_sum(100 + thread)] * 20 for thread in range(8)]


def test_a_kernel_can_call_python_and_its_errors_pass(consumer: Any) -> None:
    seen: list[str] = []
    consumer.call_in_kernel(lambda: seen.append(threading.current_thread().name), 50)
    assert seen

    def fails() -> None:
        raise KeyError("from the kernel")

    with pytest.raises(KeyError, match="from the kernel"):
        consumer.call_in_kernel(fails, 50)

    def nests() -> None:
        assert loomy.default_pool().process(lambda: consumer.nested_sum(20)) == nested_sum(20)

    consumer.call_in_kernel(nests, 50)


@pytest.mark.skipif(sys.platform == "win32", reason="sends itself a signal")
@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_a_loop_that_polls(consumer: Any) -> None:
    def interrupt() -> None:
        began = time.monotonic()
        while loomy.default_pool().running == 0 and time.monotonic() - began < 20:
            time.sleep(0.01)
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    sent: list[float] = []
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        consumer.spin()
    assert time.monotonic() - sent[0] < 5  # wide: it is measured elsewhere
    thread.join()
    assert consumer.nested_sum(10) == nested_sum(10)


def test_the_default_pool_is_one_and_another_once_it_was_closed(consumer: Any) -> None:
    pool = loomy.default_pool()
    assert loomy.default_pool() is pool
    assert all(other is pool for other in in_threads(8, lambda _: loomy.default_pool()))
    assert consumer.nested_sum(10) == nested_sum(10)
    pool.close()
    assert consumer.nested_sum(10) == nested_sum(10)
    assert loomy.default_pool() is not pool


SCRIPT = """
import contextlib, importlib.util, os, sys, threading
import loomy
spec = importlib.util.spec_from_file_location("consumer", sys.argv[1])
consumer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(consumer)
assert consumer.nested_sum(100) == 1650
def spin():
    with contextlib.suppress(RuntimeError):  # it is cancelled at the exit
        consumer.spin()
threading.Thread(target=spin, daemon=True).start()
while loomy.default_pool().running == 0:
    pass
if sys.argv[2] == "fork":
    child = os.fork()
    if child == 0:
        assert consumer.nested_sum(100) == 1650
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert loomy.default_pool().running == 1
"""


@pytest.mark.parametrize(
    "how",
    ["exit", pytest.param("fork", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"))],
)
def test_a_process_ends_and_forks_while_a_loop_runs(built: Path, how: str) -> None:
    assert nested_sum(100) == 1650
    (path,) = built.glob("consumer.*")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", SCRIPT, str(path), how],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
