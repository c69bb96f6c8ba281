"""``taskward drain``."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import click
from redis.exceptions import RedisError

from taskward.cli import options, places
from taskward.cli.errors import Forbidden, Unavailable
from taskward.cli.redisview import View, quick
from taskward.core import keys
from taskward.core.connection import text
from taskward.core.poll import until
from taskward.core.settings import Settings

_POLL_S: Final = 0.5
_HEARD_WITHIN_S: Final = 5.0


@click.command()
@options.config
@click.option("--undo", is_flag=True, help="Claim tasks again.")
@click.option("--wait/--no-wait", default=True, help="Return when the last task is resolved (default), or at once.")
def drain(config: Path | None, undo: bool, wait: bool) -> None:
    """Claim nothing more, and wait until the running tasks are resolved. It stays so until --undo.

    \b
    Examples:
      taskward drain && taskward down
      taskward drain --undo

    Exit codes: 0 drained, 69 the worker does not run, 77 ask as root or the worker's user.
    """
    settings = places.load(config)
    try:
        _drain(settings, undo, wait)
    except PermissionError as error:
        raise Forbidden(
            f"{error.filename}: {error.strerror}; ask as root, or the user who started the worker"
        ) from error
    except (RedisError, OSError) as error:
        raise Unavailable(f"the worker does not run: {error}; start it with: taskward up") from error


def _drain(settings: Settings, undo: bool, wait: bool) -> None:
    with quick(settings.redis("admin")) as redis:
        if undo:
            redis.delete(keys.DRAIN)
            click.echo("claiming again")
            return
        redis.set(keys.DRAIN, "1")
        heard = until(lambda: text(redis.get(keys.DRAIN)) == keys.DRAIN_HEARD, _HEARD_WITHIN_S, pause_s=0.05)
        click.echo("no more claims" if heard else "no more claims, as soon as the claimer runs again")
        if wait:
            tell(changes(lambda: len(View.take(redis).runs)), at_terminal=sys.stderr.isatty())


def changes(running: Callable[[], int], pause_s: float = _POLL_S) -> Iterator[int]:
    """How many runs there are, each time that it changes; ends with 0."""
    shown = running()
    yield shown
    while shown:
        time.sleep(pause_s)
        if (count := running()) != shown:
            yield count
        shown = count


def tell(counts: Iterable[int], *, at_terminal: bool) -> None:
    """One line that changes at a terminal; elsewhere a line for each change."""
    for count in counts:
        click.echo(f"\r{count} running " if at_terminal else f"{count} running", nl=not at_terminal, err=True)
    if at_terminal:
        click.echo(err=True)
