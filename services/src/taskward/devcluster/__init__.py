"""A development Taskcluster: enough of it for a worker's whole life and for the plain clients.

One process answers for auth, queue, object, index, secrets, purge-cache and worker-manager, and
serves the storage that artifacts are uploaded to. State lives in one SQLite file and, what is large
of the uploads, in one folder. It is for development and tests only: it listens on loopback and has
one all-powerful client.
"""
