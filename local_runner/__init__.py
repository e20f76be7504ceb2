"""A script-runner: runs allow-listed scripts on this machine for whoever may call its HTTP API.

From the outside in:

- `cli`: the command line, `local-runner start` and `local-runner check`.
- `config`: `config.json` and `scripts.json`.
- `log`: the log on stderr.
- `http/`: the socket, who may call, the operations of the wire.
- `jobs/`: which job runs when and how it ends; which scripts may run, with which arguments.
- `processes/`: one script: started, its output collected, ended with all it started.
- `storage/`: the history of jobs in SQLite, and the log files.
"""
