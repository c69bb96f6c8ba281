"""``taskward status``."""

import sys
from pathlib import Path
from typing import Any, Final

import click

from taskward.cli import options, places, redisview, supervision, supervisord
from taskward.cli.accounts import missing_isolation
from taskward.cli.errors import Unavailable
from taskward.cli.restarts import FILE, read
from taskward.cli.supervisor import Process, SupervisorAway, SupervisorRefused
from taskward.core import retention
from taskward.core.ids import RunId
from taskward.core.settings import Settings

_COLOURS: Final = {"RUNNING": "green", "STARTING": "yellow", "STOPPING": "yellow", "BACKOFF": "yellow"}


@click.command()
@options.config
@options.as_json
def status(config: Path | None, as_json: bool) -> None:
    """Show the worker's processes, queues and runs.

    \b
    Examples:
      taskward status
      taskward status --json | jq '.roles[] | select(.state != "RUNNING")'

    In JSON, `draining` says whether no tasks are claimed since `taskward drain`; null when Redis does not answer.

    Exit codes: 0 every process runs (also when drained), 69 the worker (or one of its processes) does not run,
    77 ask as its user.
    """
    report = collect(places.load(config))
    if as_json:
        options.print_json(report)
    else:
        _print(report)
    if not report["running"] or any(role["state"] != "RUNNING" for role in report["roles"]):
        sys.exit(Unavailable.exit_code)


def collect(settings: Settings) -> dict[str, Any]:
    """The report, as ``--json`` prints it.

    Raises:
        CommandError: only the worker's own user (or root) may look.
    """
    processes = _processes(settings)
    view = redisview.look(settings.redis("monitor")) if processes else None
    starts = read(supervisord.directory(settings.layout.state_dir) / FILE).get("starts", {})
    return {
        "taskQueueId": settings.worker.task_queue_id,
        "workerGroup": settings.worker.worker_group,
        "workerId": settings.worker.worker_id,
        "rootUrl": settings.taskcluster.root_url,
        "stateDir": str(settings.layout.state_dir),
        "running": bool(processes),
        "redis": view is not None,
        "missingIsolation": list(missing_isolation()),
        "roles": [_role(process, starts) for process in processes],
        "retained": [_retained(run, until) for run, until in sorted(retention.retained(settings.layout).items())],
        **(view.to_json() if view else {"draining": None, "queues": [], "runs": []}),
    }


def _processes(settings: Settings) -> tuple[Process, ...]:
    try:
        return supervision.supervisor(settings.layout.state_dir).processes()
    except SupervisorAway:
        return ()
    except SupervisorRefused as error:
        raise Unavailable(f"the worker is ending, or has just begun: {error}") from error


def _role(process: Process, starts: dict[str, int]) -> dict[str, Any]:
    return {
        "name": process.name,
        "pid": process.pid,
        "state": process.state,
        "restarts": max(0, starts.get(process.full_name, 1) - 1),
        "uptime_s": process.uptime_s,
    }


def _retained(run: RunId, until: str) -> dict[str, Any]:
    return {"taskId": run.task_id, "runId": run.run_id, "until": until}


def _print(report: dict[str, Any]) -> None:
    click.echo(f"{report['taskQueueId']}  {report['workerGroup']}/{report['workerId']}  {report['rootUrl']}")
    if not report["running"]:
        click.echo("not running; start it with: taskward up")
    if report["draining"]:
        click.secho(f"  {redisview.DRAINED}", fg="yellow")
    for role in report["roles"]:
        state = click.style(f"{role['state']:<9}", fg=_COLOURS.get(role["state"], "red"))
        click.echo(
            f"  {role['name']:<14}{state} pid {role['pid']:<8} up {role['uptime_s']} s, {role['restarts']} restarts"
        )
    for queue in report["queues"]:
        click.echo(
            f"  queue {queue['name']:<8}{queue['waiting']} waiting, {queue['active']} active, {queue['failed']} failed"
        )
    for run in report["runs"]:
        click.echo(f"  run {run['taskId']}/{run['runId']} {run['phase']}")
    for run in report["retained"]:
        click.echo(f"  run {run['taskId']}/{run['runId']} is over, its environment is kept until {run['until']}")
    for text in report["missingIsolation"]:
        click.secho(f"  missing: {text}", fg="yellow")
