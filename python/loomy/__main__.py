"""The command line: `python -m loomy demo [DIR]`, `python -m loomy info`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import loomy

INTERRUPTED = 128 + signal.SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE, which Windows does not name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 disagreement, 2 usage, 130 Ctrl-C, 141 broken pipe."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help(sys.stderr)
        return 2
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # file names need not fit the terminal's encoding
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, _interrupt_once)
    try:
        code = _run(options)
        if sys.stdout is not None:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nloomy: interrupted", file=sys.stderr)
        return INTERRUPTED  # the process is about to end, and a second Ctrl-C still ends it at once
    except BrokenPipeError:
        _discard_output()
        code = BROKEN_PIPE
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return code


def _run(options: argparse.Namespace) -> int:
    # Imported here, so that `--help` and `info` need nothing of the demo.
    if options.command == "info":
        from loomy._cli.info import info

        return info(as_json=options.json)
    from loomy._cli.demo import demo

    return demo(options.dir, workers=options.workers, as_json=options.json, progress=options.progress)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m loomy", description="A worker pool with native dispatch."
    )
    parser.add_argument("--version", action="version", version=f"loomy {loomy.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    demo = commands.add_parser(
        "demo",
        help="hash every file under a directory three ways and compare",
        description="Hash every file under DIR (SHA-256, whole content) one by one, with ThreadPoolExecutor "
        "and with loomy.Pool; check that all digests agree; print what each way took and what a job costs.",
    )
    demo.add_argument("dir", metavar="DIR", nargs="?", help="default: the standard library of this Python")
    demo.add_argument("--json", action="store_true", help="print one JSON document instead of the table")
    demo.add_argument(
        "--workers", metavar="N", type=_worker_count, help="size of both pools; default: the usable CPUs"
    )
    demo.add_argument(
        "--no-progress", dest="progress", action="store_false", help="no progress bar, even on a terminal"
    )

    info = commands.add_parser(
        "info",
        help="say what this build of loomy is",
        description="Print version, build, wait primitive, GIL or free-threaded, CPUs, default pool size.",
    )
    info.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def _worker_count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"at least one worker is needed, not {count}")
    return count


_worker_count.__name__ = "worker count"  # argparse says "invalid worker count value"


def _interrupt_once(_signal: int, _frame: FrameType | None) -> None:
    """The first Ctrl-C unwinds and joins the threads; a second one does not wait for that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    raise KeyboardInterrupt


def _discard_output() -> None:
    """Nobody reads any more: keep the interpreter's own last flush from complaining."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
