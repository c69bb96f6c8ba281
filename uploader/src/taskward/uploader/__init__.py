"""Uploads what the executor has left in a run's outbox; has it certified; closes its log.

One process works on one message of the queue `upload` at a time (`taskward.core.jobs`), with several transfers at once.
Any number of processes share the work. A message may be delivered twice and a process may die anywhere: what has been
sent is in the manifest (`manifest.py`), and is not sent again.
"""
