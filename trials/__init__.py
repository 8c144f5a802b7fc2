"""Long measurements, run by `make trials NAME`; their figures are in docs/reliability.md."""
