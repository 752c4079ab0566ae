"""One page about a whole run: measuring everything, keeping it as JSON, drawing it; see bench/README.md."""
