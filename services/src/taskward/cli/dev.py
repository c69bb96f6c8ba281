"""``taskward dev``: a development Taskcluster with a worker."""

import shlex
import signal
import threading
import time
from pathlib import Path

import click

from taskward.cli import places
from taskward.cli.devworker import Access, DevWorker
from taskward.cli.up import warn_of_draining, warn_of_missing_isolation
from taskward.core.settings import Settings

_state_dir = click.option(
    "--state-dir", type=click.Path(file_okay=False, path_type=Path), metavar="DIR",
    help="Where everything lives; by default /var/lib/taskward/dev, or ~/.local/state/taskward/dev for users.",
)  # fmt: skip


@click.group(invoke_without_command=True)
@_state_dir
@click.option("--detach", "-d", is_flag=True, help="Return when the worker asks for tasks, or did so before.")
@click.pass_context
def dev(context: click.Context, state_dir: Path | None, detach: bool) -> None:
    """Run a development Taskcluster and a worker for it, until Ctrl-C.

    \b
    Examples:
      taskward dev
      taskward dev --detach; eval "$(taskward dev env)"; taskward run task.yml; taskward dev down
    """
    context.obj = (state_dir or places.dev_state_dir()).absolute()
    if context.invoked_subcommand is None:
        worker = DevWorker(context.obj)
        warn_of_missing_isolation()
        if detach:
            _tell(worker, "it runs already" if worker.runs() else _started(worker))
        else:
            _stay(worker)


@dev.command()
@_state_dir
@click.option("--root-url", metavar="URL", help="Where it is reached from here, if not where the worker reaches it.")
@click.pass_obj
def env(default: Path, state_dir: Path | None, root_url: str | None) -> None:
    """Print shell exports of the root URL and root credentials of the running development Taskcluster.

    \b
    Examples:
      eval "$(taskward dev env)"
      eval "$(taskward dev env --state-dir /var/lib/taskward/cluster --root-url http://127.0.0.1:60022)"
    """
    access = Access.read((state_dir or default).absolute())
    for name, value in (
        ("ROOT_URL", root_url or access.root_url),
        ("CLIENT_ID", access.client_id),
        ("ACCESS_TOKEN", access.access_token),
    ):
        click.echo(f"export TASKCLUSTER_{name}={shlex.quote(value)}")


@dev.command("down")
@_state_dir
@click.pass_obj
def down(default: Path, state_dir: Path | None) -> None:
    """Stop what `taskward dev --detach` has started; its state is kept."""
    click.echo("stopped" if DevWorker((state_dir or default).absolute()).stop() else "was not running")


def _started(worker: DevWorker) -> str:
    began = time.monotonic()
    return f"{len(worker.start())} processes run after {time.monotonic() - began:.1f} s"


def _tell(worker: DevWorker, first: str) -> None:
    """What a person needs next."""
    click.echo(first)
    click.echo(f"Taskcluster: {Access.read(worker.state_dir).root_url}   logs: {worker.state_dir}/var/log")
    click.echo(f'next: eval "$({places.dev_command(worker.state_dir, "env")})"; taskward run TASK.yml')
    warn_of_draining(Settings.load(worker.config))


def _stay(worker: DevWorker) -> None:
    """Until Ctrl-C, SIGTERM, or the end of terminal or output, from the beginning; then nothing of it is left."""
    asked = threading.Event()
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(sig) != signal.SIG_IGN:  # nohup
            signal.signal(sig, lambda *_: asked.set())
    first = _started(worker)
    try:
        _tell(worker, first)
        click.echo("Ctrl-C stops it")
        asked.wait()
        click.echo("stopping")
    finally:
        worker.stop()
