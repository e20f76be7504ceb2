"""Many machines: a front that keeps the jobs, agents that run them, a broker in between.

Imported only if a configuration has a `cluster` section, and by `local-runner agent`.
"""
