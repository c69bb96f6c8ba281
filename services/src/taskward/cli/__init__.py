"""The `taskward` command: sets the worker up, starts and stops it, shows it, runs tasks and checks their signatures.

Each subcommand is a module of its own and imported only when it is called. The supervision of the processes is here,
too: `accounts` and `directories` say who they are and what they may touch, `programs` how they are started.
"""
