"""``taskward schema``."""

from typing import get_args

import click

from taskward.cli import options
from taskward.executor.validation import Dialect
from taskward.executor.validation import schema as payload_schema


@click.command()
@click.argument("engine", type=click.Choice(get_args(Dialect)), default="generic-worker")
def schema(engine: Dialect) -> None:
    """Print the JSON schema of task payloads, for editors and for checking tasks before they run.

    docker-worker is for payloads with an image, generic-worker for all others.

    \b
    Examples:
      taskward schema > payload.schema.json
      taskward schema docker-worker | jq '.properties | keys'
    """
    options.print_json(payload_schema(engine))
