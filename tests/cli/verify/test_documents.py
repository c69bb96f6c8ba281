"""`taskward verify` against the documents of a real signer, and against what an attacker makes of them."""

import base64
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cli.verify.downloads import (
    ASC,
    CERTIFICATE,
    DOCUMENT,
    PROVENANCE,
    SIGNATURE,
    Checker,
    bad,
    command,
    key_options,
    put,
    resign,
    stranger_s,
)
from signer import processes
from taskward.cli.verify_claims import VerificationError
from taskward.cli.verify_signatures import imported_key, open_clear_signed


def test_everything_a_signer_made_is_good(check: Checker) -> None:
    report = check(complete=True)
    assert bad(report) == {}
    assert report.ok
    assert {ASC, DOCUMENT, CERTIFICATE, PROVENANCE, "public/a.txt", "public/build/b c.bin"} <= {
        entry.subject for entry in report.checks
    }


def test_a_document_without_a_key_to_check_it_fails(check: Checker) -> None:
    assert "no OpenPGP key was given" in bad(check(openpgp_key=None))[ASC]
    assert "no ed25519 key was given" in bad(check(ed25519_keys=[]))[DOCUMENT]
    assert "no DSSE key was given" in bad(check(dsse_keys=[]))[PROVENANCE]


def test_other_keys_are_refused(check: Checker, signed: Path) -> None:
    stranger = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    assert DOCUMENT in bad(check(ed25519_keys=[stranger]))
    assert PROVENANCE in bad(check(dsse_keys=[(signed / "public" / "ed25519.pub").read_text()]))


def test_one_good_key_among_several_is_enough(check: Checker, signed: Path) -> None:
    stranger = base64.b64encode(Ed25519PrivateKey.generate().public_key().public_bytes_raw()).decode()
    assert check(ed25519_keys=[stranger, (signed / "public" / "ed25519.pub").read_text()]).ok


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text + b"\n",
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: json.dumps(json.loads(text)).encode(),
        lambda text: b"\xef\xbb\xbf" + text,
    ],
    ids=["newline", "crlf", "compact", "bom"],
)
def test_any_other_bytes_break_the_detached_signature(
    check: Checker, run: Path, change: Callable[[bytes], bytes]
) -> None:
    put(run, DOCUMENT, change((run / DOCUMENT).read_bytes()))
    assert "no given ed25519 key" in bad(check())[DOCUMENT]


@pytest.mark.parametrize(
    "change",
    [bytes.hex, lambda raw: raw + b"\n", lambda raw: raw + raw, lambda _: b"", base64.b64encode],
    ids=["hex", "newline", "twice", "empty", "base64"],
)
def test_only_64_raw_bytes_are_a_detached_signature(
    check: Checker, run: Path, change: Callable[[bytes], bytes | str]
) -> None:
    changed = change((run / SIGNATURE).read_bytes())
    put(run, SIGNATURE, changed.encode() if isinstance(changed, str) else changed)
    assert "a raw ed25519 signature has 64" in bad(check())[DOCUMENT]


def test_a_missing_detached_signature_fails(check: Checker, run: Path) -> None:
    (run / SIGNATURE).unlink()
    assert "cannot be read" in bad(check())[DOCUMENT]


@pytest.mark.parametrize(
    "change",
    [
        lambda text: b"trust me\n" + text,
        lambda text: text + b"trust me\n",
        lambda text: text + text,
        lambda text: text.replace(b"Hash: SHA512\n", b"Hash: SHA512\nNotDashEscaped: yes\n"),
        lambda text: text.replace(b"Hash: SHA512\n", b"Hash: SHA512\nComment: hello\n"),
        lambda text: text.replace(b'"runId": 0', b'"runId": 1'),
        lambda text: text.replace(b'"runId": 0,\n', b'"runId": 0,\n-----BEGIN PGP SIGNED MESSAGE-----\n'),
        lambda text: text.replace(
            b"-----BEGIN PGP SIGNATURE", b"-----BEGIN PGP SIGNATURE-----\n\n-----BEGIN PGP SIGNATURE"
        ),
        lambda text: text.replace(b'"runId": 0,\n', b'"runId": 0,\n-----END PGP SIGNATURE-----\n'),
        lambda text: text.replace(b'"runId": 0,\n', b'"runId": 0,\n-hidden\n'),
        lambda text: text.replace(b'"runId": 0,\n', b'"runId": 0,\x0c hidden\n'),
        lambda text: text.replace(b'"runId": 0,\n', b'"runId": 0,' + b" " * 20_000 + b"\n"),
    ],
    ids=[
        "before",
        "after",
        "two",
        "header",
        "comment",
        "changed",
        "message-inside",
        "two-signatures",
        "end-inside",
        "dash",
        "form-feed",
        "long",
    ],
)
def test_a_spoilt_clear_signed_message_is_refused(check: Checker, run: Path, change: Callable[[bytes], bytes]) -> None:
    put(run, ASC, change((run / ASC).read_bytes()))
    assert ASC in bad(check())


def test_armor_quoted_inside_a_line_is_no_second_message(check: Checker, run: Path) -> None:
    """A task's own key, say: gpg escapes only what begins a line."""
    assert (run / ASC).read_bytes().count(b"-----BEGIN PGP ") == 3
    assert check(complete=True).ok


def test_an_armor_line_in_a_signed_text_is_good_only_as_gpg_escapes_it(signed: Path, run: Path) -> None:
    home = signed / "keys" / "openpgp"
    text = b"a\n-----BEGIN PGP SIGNATURE-----\n-----END PGP SIGNATURE-----\nb\n"
    done = subprocess.run(
        ["gpg", "--homedir", home, "--batch", "--clearsign"], input=text, capture_output=True, check=True
    )
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)
    with imported_key(signed / "public" / "openpgp.asc") as key:
        assert open_clear_signed(done.stdout, key).rstrip(b"\n") == text.rstrip(b"\n")
        for escaped in (b"- -----BEGIN", b"- -----END"):
            with pytest.raises(VerificationError, match="not exactly one clear-signed message"):
                open_clear_signed(done.stdout.replace(escaped, escaped[2:]), key)


def test_what_a_key_signed_is_good_after_its_expiry_only_once_that_is_extended(tmp_path: Path) -> None:
    with processes.short_directory() as home:
        gpg = ["gpg", "--homedir", str(home), "--batch", "--passphrase", ""]

        def told(*words: str, text: bytes = b"") -> bytes:
            return subprocess.run([*gpg, *words], input=text, check=True, capture_output=True).stdout

        then = ["--faked-system-time", "20200101T000000"]
        told(*then, "--quick-gen-key", "an old one", "ed25519", "sign", "1d")
        signed = told(*then, "--clearsign", text=b"text\n")
        public = tmp_path / "key.asc"
        public.write_bytes(told("--armor", "--export"))
        with imported_key(public) as key:
            with pytest.raises(VerificationError, match="has expired; what it signed before is good again"):
                open_clear_signed(signed, key)
            told("--quick-set-expire", key.fingerprint, "never")
        public.write_bytes(told("--armor", "--export"))
        with imported_key(public) as key:
            assert open_clear_signed(signed, key).rstrip() == b"text"
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)


def test_trailing_blanks_are_not_taken_for_content(check: Checker, run: Path) -> None:
    put(run, ASC, (run / ASC).read_bytes().replace(b'"runId": 0,\n', b'"runId": 0,   \n'))
    assert check().ok  # OpenPGP does not cover them, and gpg does not hand them out


def test_a_stranger_s_clear_signature_is_refused(check: Checker, run: Path) -> None:
    body = (run / DOCUMENT).read_bytes()
    put(run, ASC, stranger_s(["--clearsign"], body))
    assert ASC in bad(check())


def test_documents_about_different_things_do_not_pass(check: Checker, run: Path, signed: Path) -> None:
    other = json.loads((run / DOCUMENT).read_bytes())
    other["artifacts"]["public/a.txt"]["sha256"] = "0" * 64
    resign(signed, run, json.dumps(other).encode())
    assert bad(check())["documents"] == "the documents differ in artifacts"


@pytest.mark.parametrize(
    ("name", "elsewhere"),
    [(ASC, "public/logs/chainOfTrust.json.asc"), (CERTIFICATE, "public/certificate.json.gpg")],
)
def test_another_task_s_document_is_refused_under_either_name(
    check: Checker, signed: Path, run: Path, name: str, elsewhere: str
) -> None:
    put(run, elsewhere, (run / name).read_bytes())
    assert check(complete=True).ok  # the same document twice does no harm

    shutil.copy(signed / "other" / name, run / name)
    assert bad(check())["documents"].startswith("the documents differ in ")
    (run / name).rename(run / "aside")
    (run / elsewhere).rename(run / name)
    (run / "aside").rename(run / elsewhere)
    assert bad(check())["documents"].startswith("the documents differ in ")


def test_another_task_s_document_is_refused_without_any_other_form(check: Checker, signed: Path, run: Path) -> None:
    for name in (DOCUMENT, SIGNATURE, CERTIFICATE, PROVENANCE):
        (run / name).unlink()
    (run / ASC).rename(run / "public/logs/chainOfTrust.json.asc")
    shutil.copy(signed / "other" / ASC, run / ASC)
    assert set(bad(check(ed25519_keys=[], dsse_keys=[]))) == {"documents"}


@pytest.mark.parametrize(
    ("kind", "names"),
    [("OpenPGP", (ASC, CERTIFICATE)), ("ed25519", (DOCUMENT, SIGNATURE)), ("DSSE", (PROVENANCE,))],
)
def test_a_given_key_demands_a_document_of_its_kind(
    check: Checker, signed: Path, run: Path, kind: str, names: tuple[str, ...]
) -> None:
    for name in names:
        (run / name).unlink()
    assert list(bad(check())) == [f"{kind} key"]
    assert names[0] in bad(check())[f"{kind} key"]
    result = command(run, *key_options(signed))
    assert result.exit_code == 1
    assert f"BAD     {kind} key: was given, but no document for it is there" in result.output


def test_one_openpgp_document_is_enough_for_its_key(check: Checker, run: Path) -> None:
    (run / CERTIFICATE).unlink()
    assert check(complete=True).ok


def test_a_key_given_twice_is_refused_although_the_signature_is_good(check: Checker, run: Path, signed: Path) -> None:
    text = (run / DOCUMENT).read_bytes().replace(b'"runId": 0', b'"runId": 7, "runId": 0')
    resign(signed, run, text)
    assert "given twice" in bad(check())[DOCUMENT]


def test_a_hash_that_is_none_is_refused(check: Checker, run: Path, signed: Path) -> None:
    document = json.loads((run / DOCUMENT).read_bytes())
    document["artifacts"]["public/a.txt"] = {}
    resign(signed, run, json.dumps(document).encode())
    assert DOCUMENT in bad(check())


def test_another_task_or_run_is_refused(check: Checker) -> None:
    assert "taskId" in bad(check(task_id="fN1SbArXTPSVFNUvaOlinQ"))
    assert "runId" in bad(check(run_id=1))
    assert check(task_id=check().task_id, run_id=0).ok
