"""Interactive shells in a running task: a small process beside the job process that starts them when the gateway asks.

It never touches what is typed or printed: it opens a terminal, starts the shell as the task's user inside the task's
control group, and passes the terminal's own end to the gateway, which has no rights. What the two say to each other is
in `core.shell`. `server.py` is the job process's side, `host.py` the process itself, `session.py` one shell in it.

What a task may try: the socket's directory is closed to its user, and the peer is checked again; a character pushed
into its own terminal (TIOCSTI) reaches only programs of the task, since nothing of ours reads from there; the terminal
is the task's own file, mode 0600. Shells die with the task: by its control group, and with this process (PDEATHSIG).
"""
