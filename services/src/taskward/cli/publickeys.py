"""``taskward keys``: the public halves that verifiers need."""

from pathlib import Path
from typing import Final

import click

from taskward.cli import options, places
from taskward.cli.errors import Unavailable

_FILES: Final = {"openpgp": "openpgp.asc", "ed25519": "ed25519.pub", "dsse": "dsse.pub"}


@click.group()
def keys() -> None:
    """Show the public keys that verifiers need; private keys never leave the keyholder."""


@keys.command()
@options.config
@click.option(
    "--format", "form", type=click.Choice(list(_FILES)), default="openpgp", show_default=True, help="Which key."
)
@click.option(
    "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A file instead of standard output."
)
def export(config: Path | None, form: str, output: Path | None) -> None:
    """Print a public key: armored for OpenPGP, else base64 of its 32 bytes.

    \b
    Examples:
      taskward keys export > worker.asc
      taskward keys export --format ed25519

    Exit codes: 0 printed, 64 configuration, 69 there is no key yet (it is made when the worker first starts).
    """
    file = places.load(config).layout.state_dir / "public-keys" / _FILES[form]
    try:
        text = file.read_text()
    except OSError as error:
        raise Unavailable(f"{file}: {error.strerror}; the key is made at the first start of the worker") from error
    if output:
        output.write_text(text)
    else:
        click.echo(text.rstrip("\n"))
