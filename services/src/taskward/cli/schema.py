"""``taskward schema``."""

import click

from taskward.cli import options


@click.command()
@click.argument("engine", type=click.Choice(["generic-worker"]), default="generic-worker")
def schema(engine: str) -> None:
    """Print the JSON schema of task payloads, for editors and for checking tasks before they run.

    \b
    Example:
      taskward schema > payload.schema.json
    """
    from taskward.executor.validation import schema as payload_schema

    options.print_json(payload_schema())
