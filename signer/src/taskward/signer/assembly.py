"""The signer put together from its settings."""

from flask import Flask

from taskward.signer.admission import Admission
from taskward.signer.app import create_app
from taskward.signer.certifier import Certifier
from taskward.signer.content import ContentCheck
from taskward.signer.keys import Keyholder, PublicKeys
from taskward.signer.metrics import Metrics
from taskward.signer.records import open_records
from taskward.signer.settings import SignerSettings
from taskward.signer.taskcluster import Taskcluster


def build(settings: SignerSettings) -> Flask:
    """The application with its records opened; raises like `open_records`."""
    store, audit = open_records(settings.state_dir)
    taskcluster = Taskcluster(settings.deployment.root_url, settings.deployment.credentials)
    content = ContentCheck(taskcluster, settings.deployment.root_url, settings.artifact_hosts)
    certifier = Certifier(
        settings=settings,
        taskcluster=taskcluster,
        keyholder=Keyholder(settings.keyholder_socket),
        public_keys=PublicKeys(settings.public_keys_dir),
        store=store,
        audit=audit,
        metrics=Metrics(),
        content=content if settings.verifies_artifacts else None,
    )
    return create_app(certifier, Admission(settings.door, settings.rate_per_minute, audit))
