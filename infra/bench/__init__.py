"""Benchmarks, each a module with a `main(arguments)`; `scripts/bench NAME` runs one."""
