"""Docker in a task: a filtered Docker API (`features.dind`), see decision 9.

What a task may have is made of things of its own: the daemon is only ever asked for ids that this run has got from it,
in requests that are written anew from what was understood of the task's.
"""
