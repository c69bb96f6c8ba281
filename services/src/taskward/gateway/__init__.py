"""Serves the live logs of running tasks, from their first byte on and for as long as they run.

The task itself appends to its log; that file is the only buffer. Each reader has an offset of its own into it, so a
slow reader costs the task nothing, nobody is dropped for being slow, and a reader that was cut off resumes.

What the gateway expects of whoever runs the task:

- the log stands in ``<logs_dir>/<taskId>-<runId>/live.log``, readable for the gateway's group and only appended to;
- the empty file ``done`` beside it says that everything which belongs to the log is in it: create it last;
- Redis holds ``tw:log:<token>`` → JSON ``{taskId, runId, path}``, where path is the absolute path of the log and
  token 22 to 128 characters of ``A-Z a-z 0-9 _ -`` that nobody can guess (128 random bits or more).

A reader then opens ``<public_url>/log/<token>``; what it may ask for is written in `extent.py`.

The path of a request: `front.py` (gunicorn; a connection takes a thread only once its request is there) → `livelog.py`
(Flask; token, file, what part of it) → `follower.py` (one thread for all readers; takes the socket over and sends).
"""
