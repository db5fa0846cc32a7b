"""Benchmarks: each module has add_arguments(parser) and run(args) -> exit status, and runs with `python -m`."""
