"""Measurements of the blocks and of the local runner, each beside what it is compared with.

`python -m benchmarks` measures and writes `docs/benchmarks.md`. A module a subject: `calls`,
`large_log`, `output`, `sync_runs`, `waits`, `short_jobs`, `history`, `many_clients`. `figures` is
what they hand over; `report` and `plots` make the page of it.
"""
