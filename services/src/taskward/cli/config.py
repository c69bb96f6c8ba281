"""``taskward config``: what the configuration says, and what is made of it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from taskward.cli import options, places, resolved, toml
from taskward.cli.configuration import Configuration
from taskward.cli.programs import programs
from taskward.cli.secret import secrets
from taskward.cli.supervisord import configuration
from taskward.cli.up import warn_of_exposed_secrets
from taskward.core.settings import Settings


@click.group()
def config() -> None:
    """Show the configuration and what is made of it."""


@config.command()
@options.config
@options.as_json
@click.option("--origin", is_flag=True, help="Say where each value comes from: variable, file or default.")
def show(config: Path | None, as_json: bool, origin: bool) -> None:
    """Print every setting with its value, if `taskward up` would take them all. Secrets are never in it, only paths.

    \b
    Examples:
      taskward config show --origin
      taskward config show --config worker.toml --json | jq .worker
      TASKWARD_WORKER__CAPACITY=4 taskward config show --origin | grep capacity

    Exit codes: 0 printed, 64 file or environment cannot be used (the text names the key).
    """
    given = Configuration.read(places.find_config(config), os.environ)
    settings = given.settings
    resolved.check(settings)
    _check_secrets(settings)
    sections = resolved.sections(settings)
    if as_json:
        options.print_json(_with_origin(sections, given) if origin else sections)
    elif origin:
        for name, key, value, source in _rows(sections, given):
            click.echo(f"{name}.{key} = {toml.value(value)}  # {source}")
    else:
        click.echo(toml.document(sections), nl=False)


@config.command()
@options.config
def supervisord(config: Path | None) -> None:
    """Print the supervisord configuration that `taskward up` would use.

    \b
    Example:
      taskward config supervisord > /etc/supervisor/conf.d/taskward.conf
    """
    settings = places.load(config)
    resolved.check(settings)
    click.echo(configuration(settings.layout.state_dir, programs(settings)), nl=False)


def _check_secrets(settings: Settings) -> None:
    for each in secrets(settings):
        if not each.is_hidden():
            each.read()
            continue
        text = f"[taskcluster] {each.key}: {each.path}: not checked, it is hidden from you"
        click.echo(f"warning: {text}", err=True)
    warn_of_exposed_secrets(settings)


def _rows(sections: Mapping[str, Any], given: Configuration) -> Iterator[tuple[str, str, Any, str]]:
    for name, table in sections.items():
        for key, value in table.items():
            if value is not None:
                yield name, key, value, given.origin(name, key)


def _with_origin(sections: Mapping[str, Any], given: Configuration) -> dict[str, dict[str, Any]]:
    shown: dict[str, dict[str, Any]] = {}
    for name, key, value, source in _rows(sections, given):
        shown.setdefault(name, {})[key] = {"value": value, "origin": source}
    return shown
