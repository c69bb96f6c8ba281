"""A desktop for a task, and its door for RDP clients.

::

    client ──TLS──▶ port ──▶ relay ──▶ xrdp ──▶ Xvnc ◀── session, and every program of the task that knows DISPLAY
                    held by root  └──── the task's user, in the task's control group ────┘

Nothing of it is root but the two listening sockets, which the job process keeps for as long as they are published, so
that nobody else can take a port over while the servers start anew. The password is Xvnc's: no user of the system has
one, so it opens nothing else. There is no session manager and no PAM: nothing can leave the control group.
"""
