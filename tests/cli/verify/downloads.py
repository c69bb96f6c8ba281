"""What the tests of `taskward verify` share: names, keys, and what attackers do."""

import base64
import subprocess
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from signer import processes
from taskward.cli.verify import VerificationReport, verify

ASC = "public/chainOfTrust.json.asc"
DOCUMENT = "public/chain-of-trust.json"
SIGNATURE = "public/chain-of-trust.json.sig"
CERTIFICATE = "public/logs/certificate.json.gpg"
PROVENANCE = "public/provenance.intoto.json"
LOG = "public/logs/live_backing.log"

Checker = Callable[..., VerificationReport]


def put(directory: Path, name: str, content: bytes) -> None:
    (directory / name).parent.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(content)


def command(*arguments: str | Path) -> Result:
    return CliRunner().invoke(verify, [str(argument) for argument in arguments])


def key_options(signed: Path) -> list[str | Path]:
    names = {"--openpgp-key": "openpgp.asc", "--ed25519-key": "ed25519.pub", "--dsse-key": "dsse.pub"}
    return [word for option, name in names.items() for word in (option, signed / "public" / name)]


def bad(report: VerificationReport) -> dict[str, str]:
    return {check.subject: check.message for check in report.checks if not check.ok}


def stranger_s(words: list[str], content: bytes = b"") -> bytes:
    """What gpg answers to somebody with another key of the same name."""
    with processes.short_directory() as home:
        gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]
        make = [*gpg, "--quick-gen-key", "taskward chain of trust", "ed25519", "sign", "never"]
        subprocess.run(make, check=True, capture_output=True)
        done = subprocess.run([*gpg, *words], input=content, check=True, capture_output=True)
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
        return done.stdout


def resign(signed: Path, run: Path, body: bytes) -> None:
    """Sign another document with the worker's own key."""
    seed = base64.b64decode((signed / "keys" / "ed25519.key").read_text())
    put(run, DOCUMENT, body)
    put(run, SIGNATURE, Ed25519PrivateKey.from_private_bytes(seed).sign(body))
