"""Everything at once, with faults: `python -m tests.soak --minutes 10`. A line a second, then a verdict.

Each actor is a thread that does one thing over and over and checks what comes of it; the main thread takes
the signals and forks. A fault is *injected* before and *survived* after what had to hold did hold. An actor
that gets nowhere for STUCK seconds is a hang: all stacks are written and the process ends with 3. A failed
check ends it with 1, and so does memory that goes on growing after the warm-up.
"""
