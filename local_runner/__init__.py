"""A script-runner: runs allow-listed scripts on this machine for whoever may call its HTTP API.

Modules, from the outside in:

- `cli`: the command line, `local-runner start` and `local-runner check`.
- `server`: the listening socket, uvicorn, signals.
- `guard`: who may call at all.
- `api`: the four operations and `/healthz`, on the wire of `openapi/script-runner.yaml`.
- `rules`: which scripts may run, with which arguments.
- `runner`: which job runs when, how it ends, what survives a restart.
- `live`: a job while it lives.
- `process`: one script: started, its output collected, ended with all it started.
- `logs`: the log files and the pages read from them.
- `store`: the history of jobs in SQLite.
- `config`: `config.json` and `scripts.json`.
- `events`: the log on stderr.
"""
