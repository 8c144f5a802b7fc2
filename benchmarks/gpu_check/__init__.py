"""The proof on a machine with a GPU: ten assertions, and what it takes.

    make gpu-check          # or: PYTHONPATH=src python -m benchmarks.gpu_check

Each part runs in a process of its own, since one illegal address spoils all that follows
(`processes`). What the parts are stands in `parts`. The exit code is 0 only if each part ran and
held. One JSON file has all that a report needs.
"""
