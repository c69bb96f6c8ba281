"""Two roles that meet on a network believe each other and nobody else."""

import os
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from taskward.cli import resolved
from taskward.cli.accounts import ensure_accounts
from taskward.cli.authority import Authority
from taskward.cli.introduction import Party, introduce
from taskward.core.settings import Settings

from .conftest import WriteConfig

NOW = datetime.now(UTC)


@pytest.fixture
def parties(tmp_path: Path) -> tuple[Party, Party]:
    """A server and its client, introduced."""
    if os.geteuid() == 0:
        ensure_accounts()
    made = Party("signer", "signer.signing", tmp_path / "signer"), Party("uploader", "uploader", tmp_path / "uploader")
    introduce(made)
    return made


def talk(server: Party, client: Party, name: str = "signer.signing") -> str:
    """The client's name, as the server gets to know it, after a handshake without any network."""
    contexts = []
    for party, protocol in ((server, ssl.PROTOCOL_TLS_SERVER), (client, ssl.PROTOCOL_TLS_CLIENT)):
        context = ssl.SSLContext(protocol)
        context.minimum_version, context.verify_mode = ssl.TLSVersion.TLSv1_3, ssl.CERT_REQUIRED
        context.load_verify_locations(party.authority)
        context.load_cert_chain(party.certificate, party.key)
        contexts.append(context)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = contexts[0].wrap_bio(to_server, to_client, server_side=True)
    there = contexts[1].wrap_bio(to_client, to_server, server_hostname=name)
    for end in (there, here, there, here):
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            continue
    certificate = here.getpeercert()
    assert certificate is not None
    return str(dict(certificate["subjectAltName"])["DNS"])  # type: ignore[arg-type]  # typeshed has all keys alike


def test_parties_know_each_other_by_name(parties: tuple[Party, Party]) -> None:
    assert talk(*parties) == "uploader"


def test_name_of_another_server_is_not_believed(parties: tuple[Party, Party]) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"signer\.example"):
        talk(*parties, name="signer.example")


def test_stranger_with_the_same_names_is_not_believed(parties: tuple[Party, Party], tmp_path: Path) -> None:
    server, client = parties
    stranger = Party("uploader", "uploader", tmp_path / "stranger")
    introduce([stranger])
    stranger.authority.chmod(0o600)
    stranger.authority.write_text(client.authority.read_text())
    with pytest.raises(ssl.SSLError):
        talk(server, stranger)
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(stranger, client, name="uploader")


def test_keys_are_for_their_owner_only_and_are_kept(parties: tuple[Party, Party]) -> None:
    before = [party.key.read_text() for party in parties]
    introduce(parties)
    assert [party.key.read_text() for party in parties] == before
    assert [stat.S_IMODE(party.key.stat().st_mode) for party in parties] == [0o400, 0o400]


def test_introduction_that_was_cut_off_is_made_anew(parties: tuple[Party, Party]) -> None:
    server, client = parties
    client.key.unlink()
    introduce(parties)
    assert talk(server, client) == "uploader"


def test_certificate_of_the_past_is_not_believed(parties: tuple[Party, Party]) -> None:
    server, client = parties
    authority = Authority(NOW - timedelta(days=400), timedelta(days=300))
    issued = authority.issue("signer.signing")
    for path, text in (
        (server.certificate, issued.certificate),
        (server.key, issued.key),
        (client.authority, authority.certificate),
    ):
        path.chmod(0o600)
        path.write_text(text)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        talk(server, client)


def test_signer_that_listens_on_a_network_has_no_socket(write_config: WriteConfig) -> None:
    files = dict.fromkeys(("certificate_file", "key_file", "client_ca_file"), "/x")
    section = {"listen": "127.0.0.1:1", "allowed_clients": ["u"], **files}
    made = resolved.sections(Settings.load(write_config(signer=section)))["signer"]
    assert made["listen"] == "127.0.0.1:1"
    assert not {"socket", "socket_mode", "allowed_users"} & set(made)
