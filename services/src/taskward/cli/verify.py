"""``taskward verify DIR``: are these artifacts what a worker signed?"""

import json
import sys
from pathlib import Path

import click

from taskward.cli import options
from taskward.cli.errors import CommandError
from taskward.cli.publickeys import signing_keys
from taskward.cli.verify_directory import (
    Check,
    NothingToVerifyError,
    VerificationReport,
    verify_directory,
)
from taskward.cli.verify_signatures import UnusableKeyError, public_key, read_key
from taskward.core.errors import TaskwardError

__all__ = ["Check", "VerificationReport", "verify", "verify_directory"]

_EXIT_BAD = 1
_EXIT_UNUSABLE = 2


class _Ed25519Key(click.ParamType[str]):
    name = "BASE64|FILE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The key in base64, from a file of that name if there is one."""
        try:
            text = read_key(Path(value)).decode("ascii") if Path(value).is_file() else value
            public_key(text)
        except (OSError, UnicodeDecodeError, UnusableKeyError) as error:
            self.fail(f"neither a key nor a file with one: {error}", param, ctx)
        return text.strip()


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@options.config
@click.option(
    "--openpgp-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Armored public key that has to have signed the OpenPGP documents.",
)
@click.option(
    "--ed25519-key",
    "ed25519_keys",
    type=_Ed25519Key(),
    multiple=True,
    help="Public key that has to have signed chain-of-trust.json; may be given several times (rotation).",
)
@click.option(
    "--dsse-key",
    "dsse_keys",
    type=_Ed25519Key(),
    multiple=True,
    help="Public key that has to have signed the provenance; may be given several times.",
)
@click.option("--task-id", help="Refuse documents about any other task.")
@click.option("--run-id", type=int, help="Refuse documents about any other run.")
@click.option("--complete", is_flag=True, help="Refuse when a certified artifact is not there.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def verify(
    directory: Path,
    config: Path | None,
    openpgp_key: Path | None,
    ed25519_keys: tuple[str, ...],
    dsse_keys: tuple[str, ...],
    task_id: str | None,
    run_id: int | None,
    complete: bool,
    as_json: bool,
) -> None:
    """Verify the artifacts of one run, offline.

    DIRECTORY holds them under their artifact names (DIRECTORY/public/chain-of-trust.json, …). Every signed
    document there has to be good and say the same, and every other file has to be as certified. Take the keys
    from the worker's operator, never from the same place as the artifacts. For each kind of key that you give, at
    least one document has to be there. Without any key, those of the worker on this machine are taken, for the
    documents that are there.

    Logs that are published after signing, like public/logs/live_backing.log, are listed as unchecked: no signature
    covers them. The log that was signed is public/logs/certified.log.

    Exit codes: 0 everything holds, 1 something does not, 2 there was nothing to verify or a key is unusable.

    \b
    Examples:
      taskward run task.yml --download build && taskward verify build
      taskward verify build --ed25519-key ed25519.pub --openpgp-key openpgp.asc --dsse-key dsse.pub
      taskward verify build --ed25519-key kni6ts7z/MRkvs7i6+SF/T6UWj0hAJoHEcrgHB8BBR0= --complete --json
    """
    explicit = bool(openpgp_key or ed25519_keys or dsse_keys)
    if not explicit:
        openpgp_key, ed25519_keys, dsse_keys = _keys_here(config)
    elif config:
        raise click.UsageError("--config names the worker whose keys are taken: give no other keys with it")
    try:
        report = verify_directory(
            directory,
            openpgp_key,
            ed25519_keys,
            dsse_keys,
            every_key=explicit,
            task_id=task_id,
            run_id=run_id,
            complete=complete,
        )
    except (NothingToVerifyError, UnusableKeyError) as error:
        click.echo(f"taskward verify: {error}", err=True)
        sys.exit(_EXIT_UNUSABLE)
    click.echo(json.dumps(report.as_json(), indent=2) if as_json else _text(report))
    sys.exit(0 if report.ok else _EXIT_BAD)


def _keys_here(config: Path | None) -> tuple[Path | None, tuple[str, ...], tuple[str, ...]]:
    """Those of the worker on this machine; none where there is no such worker, unless one was named."""
    try:
        found = signing_keys(config)
    except (CommandError, TaskwardError) as error:
        if config:
            raise
        click.echo(f"no key was given, and this machine has none: {error}", err=True)
        return None, (), ()
    click.echo(f"with the keys of the worker on this machine, in {found.openpgp.parent}", err=True)
    return found.openpgp, (found.ed25519,), (found.dsse,)


def _text(report: VerificationReport) -> str:
    lines = [_line(check) for check in report.checks]
    lines += [f"{click.style('absent', fg='yellow')}  {_printable(name)}" for name in report.absent]
    lines += [
        f"{click.style('unchecked', fg='yellow')}  {_printable(name)}: no signature covers it"
        for name in report.unchecked
    ]
    if report.ok:
        verdict = click.style(f"verified: task {report.task_id}, run {report.run_id}", fg="green", bold=True)
    else:
        verdict = click.style("NOT verified: do not use these artifacts", fg="red", bold=True)
    return "\n".join((*lines, verdict))


def _line(check: Check) -> str:
    word = click.style("good  ", fg="green") if check.ok else click.style("BAD   ", fg="red")
    return f"{word}  {_printable(check.subject)}: {_printable(check.message)}"


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)
