"""The benchmark: `python -m bench` against other libraries, `pytest bench/` against our own past."""
