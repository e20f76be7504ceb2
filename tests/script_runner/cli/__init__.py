"""Tests of scriptctl: the command, as a process, against a local runner with real scripts."""
