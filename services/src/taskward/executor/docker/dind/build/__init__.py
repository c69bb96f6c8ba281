"""``docker build``: a Dockerfile is carried out through the task's own filtered API, with the rights of the task.

The daemon's builder would take ``FROM`` and ``COPY --from`` from whatever images there are, fetch URLs of ``ADD`` from
the host's place in the network, and share its cache between tasks. This one has nothing that its task does not have.
"""
