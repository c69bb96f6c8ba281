"""``taskward version``."""

import importlib.metadata
import platform

import click

from taskward.cli import options


@click.command()
@options.as_json
def version(as_json: bool) -> None:
    """Print the version of taskward and of what it stands on.

    \b
    Example:
      taskward version --json
    """
    versions = {
        name: importlib.metadata.version(name) for name in ("taskward", "rq", "redis", "supervisor", "gunicorn")
    }
    versions["python"] = platform.python_version()
    if as_json:
        options.print_json(versions)
    else:
        click.echo(" ".join(f"{name} {number}" for name, number in versions.items()))
