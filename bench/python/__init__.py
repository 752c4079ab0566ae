"""The Python benchmarks.

Layers, each using only those to its left:
loops, competitors, jobs, clock, procfs, ticker <- model <- workloads <- child (one per row) <- driver
<- report, record, machine <- cli
"""
