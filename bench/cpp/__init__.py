"""The native benchmarks: building, running and showing them; see bench/README.md."""
