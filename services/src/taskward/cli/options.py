"""Options that several commands share."""

import json
from pathlib import Path
from typing import Any

import click

config = click.option(
    "--config", "-c", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="The worker's TOML file; by default TASKWARD_CONFIG, /etc/taskward/taskward.toml, the development worker's.",
)  # fmt: skip

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def print_json(value: Any) -> None:
    """One document, indented, sorted as given."""
    click.echo(json.dumps(value, indent=2, default=str))
