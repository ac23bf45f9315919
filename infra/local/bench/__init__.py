"""Benchmarks, each a module with a `main(arguments)` of its own; `scripts/bench NAME` runs one."""
