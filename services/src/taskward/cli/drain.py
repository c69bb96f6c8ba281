"""``taskward drain``."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import click
from redis.exceptions import RedisError

from taskward.cli import options, places, supervision
from taskward.cli.errors import Forbidden, Unavailable
from taskward.cli.redisview import View, quick
from taskward.core import keys
from taskward.core.commands import text
from taskward.core.poll import until
from taskward.core.settings import Settings

T = TypeVar("T")

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
    runs = supervision.supervisor(settings.layout.state_dir).answers
    with quick(settings.redis("admin")) as redis:
        if undo:
            patiently(lambda: redis.delete(keys.DRAIN), runs)
            click.echo("claiming again")
            return
        patiently(lambda: redis.set(keys.DRAIN, "1"), runs)
        state = partial(patiently, lambda: redis.get(keys.DRAIN), runs)
        heard = until(lambda: text(state()) == keys.DRAIN_HEARD, _HEARD_WITHIN_S, pause_s=0.05)
        click.echo("no more claims" if heard else "no more claims, as soon as the claimer runs again")
        if wait:
            counts = changes(lambda: patiently(lambda: len(View.take(redis).runs), runs))
            tell(counts, at_terminal=sys.stderr.isatty())


def patiently(ask: Callable[[], T], runs: Callable[[], bool], pause_s: float = _POLL_S) -> T:
    """What `ask` gives; again while Redis is away and `runs` says that the worker is not.

    Raises:
        RedisError, OSError: neither is there, or nobody lets us in.
    """
    told = False
    while True:
        try:
            return ask()
        except PermissionError:
            raise
        except (RedisError, OSError):
            if not runs():
                raise
            if not told:
                click.echo("Redis does not answer; the worker starts it again", err=True)
            told = True
            time.sleep(pause_s)


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
