"""``payload.mounts``: files, read-only directories and writable caches in the task directory.

Whatever is hostile is touched with the rights of somebody who owns nothing else: downloading, hashing and placing with
those of the task's user (`porter`), unpacking with those of a user that exists for one directory only (`unpack`). Root
makes files, directories and mounts, keeps what is shared (`shelf`), and reads nothing of what is in them.
"""
