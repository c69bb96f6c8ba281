"""``taskward keys``: the public halves that verifiers and task authors need."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Self

import click

from taskward.cli import options, places
from taskward.cli.errors import CommandError, NotSaved, Unavailable
from taskward.core.clock import parse_time

_FILES: Final = {"openpgp": "openpgp.asc", "ed25519": "ed25519.pub", "dsse": "dsse.pub"}
_DIRECTORY: Final = "public-keys"
_LONGEST_VALUE: Final = 128 * 1024
_LONGEST_KEY: Final = 1024 * 1024
_CLOCKS_DIFFER: Final = timedelta(minutes=5)
_LIFE: Final = timedelta(days=1)


@dataclass(frozen=True)
class SigningKeys:
    """Of one worker: a file with the armored OpenPGP key, and two in base64."""

    openpgp: Path
    ed25519: str
    dsse: str

    @classmethod
    def read(cls, state_dir: Path) -> Self:
        """Raises `Unavailable` when there are none yet."""
        home = state_dir / _DIRECTORY
        _read(home / _FILES["openpgp"], "")
        return cls(home / _FILES["openpgp"], *(_read(home / _FILES[form], "").strip() for form in ("ed25519", "dsse")))


def signing_keys(config: Path | None) -> SigningKeys:
    """Those of the worker on this machine.

    Raises:
        TaskwardError, CommandError: there is no worker, or it has none yet.
    """
    return SigningKeys.read(places.load(config).layout.state_dir)


def openpgp_expiry(state_dir: Path) -> datetime | None:
    """When the OpenPGP key of the worker there expires; None for never, and where it has none of its own yet.

    Raises:
        ValueError: what its keyholder published is not in its form.
    """
    try:
        published = json.loads(_read(state_dir / _DIRECTORY / "keys.json", ""))
        expires = published["openpgp"]["expires"]
        return None if expires is None else parse_time(expires)
    except Unavailable:
        return None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{state_dir / _DIRECTORY / 'keys.json'} is not as the keyholder writes it") from error


@click.group()
def keys() -> None:
    """Show public keys, and encrypt with them; private keys never leave the processes that hold them."""


@keys.command()
@options.config
@click.option(
    "--purpose", type=click.Choice(["signing", "encryption"]), default="signing", show_default=True,
    help="What it is for: to verify what the worker signed, or to encrypt variables for its tasks.",
)  # fmt: skip
@click.option(
    "--format", "form", type=click.Choice(list(_FILES)), default="openpgp", show_default=True, help="Which signing key."
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of standard output."
)
def export(config: Path | None, purpose: str, form: str, output: Path | None) -> None:
    """Print a public key: armored for OpenPGP, else base64 of its 32 bytes.

    \b
    Examples:
      taskward keys export > worker.asc
      taskward keys export --format ed25519
      taskward keys export --purpose encryption > encryption.asc

    Exit codes: 0 printed, 2 wrong usage, 64 configuration, 69 there is no key yet (it is made at the first start).
    """
    if purpose == "encryption" and form != "openpgp":
        raise click.UsageError("encryption has one key, in the openpgp format")
    text = _encryption_key(config) if purpose == "encryption" else _signing_key(config, form)
    if output:
        try:
            output.write_text(text)
        except OSError as error:
            raise NotSaved(f"{output}: cannot be written: {error.strerror}") from error
    else:
        click.echo(text.rstrip("\n"))


@keys.command("encrypt-env")
@options.config
@click.option(
    "--task-id", metavar="ID", help="The task that the variable is for; without it, a new id is made and told."
)
@click.option("--name", required=True, help="Of the variable.")
@click.option(
    "--value-file", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path), default="-",
    help="Its value; by default standard input, or a question at a terminal. One line end at the end is left out.",
)  # fmt: skip
@click.option("--exact", is_flag=True, help="Keep a line end at the end of the value.")
@click.option(
    "--start", metavar="TIME", help="When it becomes valid, as 2026-01-31T12:00:00Z; by default 5 minutes ago."
)
@click.option("--end", metavar="TIME", help="When it ceases to be valid; by default in a day.")
@click.option(
    "--key", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The worker's public key; by default that of the worker on this machine.",
)  # fmt: skip
@options.as_json
def encrypt_env(
    config: Path | None, task_id: str | None, name: str, value_file: Path, exact: bool, start: str | None,
    end: str | None, key: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Print an entry for payload.encryptedEnv: a variable that only that worker can read, for that task only.

    The value is never an argument, so that it is in no process list and no shell history.

    \b
    Examples:
      taskward keys encrypt-env --name TOKEN --key encryption.asc --json < token.txt
      taskward keys encrypt-env --name TOKEN --task-id "$ID" --end 2026-01-31T12:00:00Z
      taskward run task.yml --task-id "$ID"

    Exit codes: 0 printed, 1 the key or the value cannot be used, 2 wrong usage, 64 configuration, 69 no key here.
    """
    import slugid

    from taskward.cli.sealing import Variable

    now = datetime.now(UTC)
    chosen = _task_id(task_id) if task_id else str(slugid.nice())
    first, last = _time(start, "--start") or now - _CLOCKS_DIFFER, _time(end, "--end") or now + _LIFE
    if last <= max(first, now):
        raise click.UsageError("--end is over already, or before --start")
    public_key = _public_key(key) if key else _encryption_key(config)
    sealed = Variable(chosen, _name(name), _value(value_file, exact), first, last).sealed(public_key)
    if as_json:
        options.print_json({"taskId": chosen, "encryptedEnv": [sealed]})
        return
    if not task_id:
        click.echo(
            f"for the task with the id {chosen}; create it with: taskward run TASK.yml --task-id {chosen}", err=True
        )
    click.echo(sealed)


def _signing_key(config: Path | None, form: str) -> str:
    return _read(places.load(config).layout.state_dir / _DIRECTORY / _FILES[form], "")


def _encryption_key(config: Path | None) -> str:
    return _read(places.load(config).layout.encryption_key, " that has [executor] enable_encrypted_env")


def _read(file: Path, which: str) -> str:
    try:
        with open(file, encoding="utf-8") as opened:
            return opened.read(_LONGEST_KEY)
    except OSError as error:
        text = f"{file}: {error.strerror}; the key is made at the first start of the worker{which}"
        raise Unavailable(text) from error


def _public_key(file: Path) -> str:
    try:
        return file.read_text()
    except UnicodeDecodeError as error:
        raise CommandError(f"{file}: no armored key") from error


def _task_id(text: str) -> str:
    from taskward.core.ids import RunId

    try:
        return RunId(text, 0).task_id
    except ValueError as error:
        raise click.UsageError(f"--task-id: {error}") from error


def _name(name: str) -> str:
    if not name or "=" in name or "\0" in name:
        raise click.UsageError(f"--name: {name!r} is not a name for a variable")
    if name in ("TASK_ID", "RUN_ID"):
        raise click.UsageError(f"--name: {name} is the worker's own; no task may set it")
    return name


def _time(text: str | None, option: str) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except ValueError as error:
        raise click.UsageError(f"{option}: not a time of the form 2026-01-31T12:00:00Z: {text!r}") from error


def _value(file: Path, exact: bool) -> str:
    if str(file) == "-" and sys.stdin.isatty():
        return str(click.prompt("value", hide_input=True, err=True))
    try:
        text = (sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()).decode()
    except UnicodeDecodeError as error:
        raise CommandError("the value is not UTF-8; encode it in the task's own way, base64 say") from error
    if "\0" in text or len(text) > _LONGEST_VALUE:
        raise CommandError(f"the value has a NUL character, or more than {_LONGEST_VALUE}: no variable can have that")
    return text if exact else text.removesuffix("\n")
