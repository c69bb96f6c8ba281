"""Pages for people: the latest tasks, and each task with its runs and artifacts."""

from datetime import datetime
from html import escape
from urllib.parse import quote

from flask import Blueprint, Response

from taskward.devcluster.routes.request import cluster
from taskward.devcluster.tasks import Run, Task

routes = Blueprint("pages", __name__)

_SHOWN = 50
_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}"
    "table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.2em .8em .2em 0;"
    "border-bottom:1px solid #ddd}code{font-size:90%}"
)


@routes.get("/")
def latest_tasks() -> Response:
    """Show the latest tasks."""
    with cluster().database.transaction() as db:
        rows = db.execute("SELECT task_id FROM tasks ORDER BY rowid DESC LIMIT ?", (_SHOWN,)).fetchall()
        tasks = cluster().tasks.load_many(row["task_id"] for row in rows)
    lines = "".join(_task_line(task) for task in tasks) or "<tr><td>No task was created yet.</td></tr>"
    return _page("Tasks", f"<table><tr><th>Task<th>Queue<th>State<th>Log</tr>{lines}</table>")


@routes.get("/tasks/<task_id>")
def show_task(task_id: str) -> Response:
    """Show a task, its runs and their artifacts."""
    task = cluster().tasks.find(task_id)
    if task is None:
        return _page("No such task", f"<p>There is no task <code>{escape(task_id)}</code>.</p>", 404)
    runs = "".join(_run_section(run) for run in task.runs) or "<p>It has no run yet.</p>"
    description = escape(str(task.definition["metadata"]["description"]))
    api = f"/api/queue/v1/task/{task_id}"
    links = f'<p><a href="{api}">definition</a> · <a href="{api}/status">status</a> · <a href="/">all</a></p>'
    return _page(_name(task), f"<p>{description}</p><p>{task.state}</p>{links}{runs}")


def _task_line(task: Task) -> str:
    log = _artifact_url(task.runs[-1], "public/logs/live.log") if task.runs else ""
    return (
        f'<tr><td><a href="/tasks/{task.task_id}">{escape(_name(task))}</a> <code>{task.task_id}</code>'
        f"<td>{escape(task.task_queue_id)}<td>{task.state}<td>" + (f'<a href="{log}">log</a>' if log else "") + "</tr>"
    )


def _run_section(run: Run) -> str:
    artifacts = cluster().artifacts.list(run.task_id, run.run_id, "", 1000)
    lines = "".join(
        f'<li><a href="{_artifact_url(run, one.name)}">{escape(one.name)}</a> '
        f"{escape(one.storage_type)}, {escape(one.content_type)}</li>"
        for one in artifacts
    )
    facts = [
        f"created for {run.reason_created}",
        f"worker {run.worker_group}/{run.worker_id}" if run.worker_id else "no worker",
        f"started {_time(run.started)}",
        f"resolved {_time(run.resolved)} {run.reason_resolved or ''}",
    ]
    return f"<h2>Run {run.run_id}: {run.state}</h2><p>{escape(' · '.join(facts))}</p><ul>{lines}</ul>"


def _name(task: Task) -> str:
    return str(task.definition["metadata"]["name"]) or task.task_id


def _artifact_url(run: Run, name: str) -> str:
    return f"/api/queue/v1/task/{run.task_id}/runs/{run.run_id}/artifacts/{quote(name, safe='')}"


def _time(instant: datetime | None) -> str:
    return instant.strftime("%Y-%m-%d %H:%M:%S UTC") if instant else "–"


def _page(title: str, content: str, status: int = 200) -> Response:
    document = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style><h1>{escape(title)}</h1>{content}</html>"
    )
    answer = Response(document, status, mimetype="text/html")
    answer.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return answer
