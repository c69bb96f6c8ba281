"""Runs tasks, one at a time: a process of this kind for each slot of the worker, and a job process for each run.

The life of a run (`life.py`), whose every phase stands in its record before the work begins::

    claimed → preparing → running → collecting → uploading
              │           │         │            └ the outbox is the uploaders' (`core.outbox`)
              │           │         └ everything of the task is dead; features stop, artifacts move (`collect.py`)
              │           └ commands, one after the other (`commands.py`, `watch.py`)
              └ payload (`payload.py`), user and directory (`engine.py`, `native.py`), features (`features/`)

A job that is delivered again after its process died ends the run instead of repeating it (`job.py`). What a run leaves
on the machine is removed after it was handed over, and by the next sweep after a crash (`sweep.py`).
"""
