"""The ``taskward`` command: finds the subcommand and imports no other."""

import importlib
from typing import Final

import click

from taskward.cli.interrupts import leaving

_COMMANDS: Final = {
    "up": ("taskward.cli.up:up", "Start the worker."),
    "down": ("taskward.cli.up:down", "Stop the worker and wait until all of it is gone."),
    "dev": ("taskward.cli.dev:dev", "Run a development Taskcluster and a worker for it."),
    "run": ("taskward.cli.run:run", "Create a task, follow its log, exit with its result."),
    "status": ("taskward.cli.status:status", "Show the worker's processes, queues and runs."),
    "drain": ("taskward.cli.drain:drain", "Claim nothing more; wait for the running tasks."),
    "doctor": ("taskward.cli.doctor:doctor", "Check this machine and the configuration."),
    "keys": ("taskward.cli.publickeys:keys", "Show the public keys that verifiers need."),
    "verify": ("taskward.cli.verify:verify", "Check the signatures of downloaded artifacts offline."),
    "lint": ("taskward.cli.lint:lint", "Check tasks before they are created."),
    "schema": ("taskward.cli.schema:schema", "Print the JSON schema of task payloads."),
    "config": ("taskward.cli.config:config", "Show the configuration and what is made of it."),
    "metrics": ("taskward.cli.metrics:metrics", "Print what all processes count, for Prometheus."),
    "version": ("taskward.cli.version:version", "Print the version."),
}


class LazyGroup(click.Group):
    """A group whose subcommands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, or None when there is none of that name."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        with leaving():
            command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing what it names."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="taskward", message="taskward %(version)s", help="Show the version and exit.")
def taskward() -> None:
    """A Taskcluster worker made of separated processes.

    \b
    Try it:
      taskward dev                    a development Taskcluster with a worker, until Ctrl-C
      taskward run TASK.yml           create a task there and watch it
      taskward up --config FILE       the worker for a real Taskcluster
    """
