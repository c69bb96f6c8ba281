"""A worker's state directory, a run in it that the executor has left behind, and the uploader that takes it over."""

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from redis import Redis

from simulators.redis import RedisServer
from taskward.core import keys
from taskward.core.ids import RunId
from taskward.core.layout import Layout
from taskward.core.outbox import Entry, Index
from taskward.core.outcome import COMPLETED, Outcome
from taskward.core.record import Record, Records
from taskward.core.settings import UploaderSettings
from taskward.core.taskcluster import Taskcluster
from taskward.signer.client import SignerClient
from taskward.uploader.manifest import Manifest, Sent
from taskward.uploader.notes import Notes
from taskward.uploader.service import Service
from taskward.uploader.transfer import Transfers
from uploader.cloud import Cloud

EXPIRES = "2030-01-01T00:00:00.000Z"
RUN = RunId("dSlITZ4yQgmvxxAi4A8fHQ", 0)
UNTIL = datetime(2030, 1, 1, tzinfo=UTC)
LIVE, BACKING = "public/logs/live.log", "public/logs/live_backing.log"


def credentials(client_id: str) -> str:
    certificate = json.dumps({"version": 1, "scopes": ["queue:create-artifact:*"], "signature": "s"})
    return json.dumps({"clientId": client_id, "accessToken": "t" * 44, "certificate": certificate})


@dataclass
class Site:
    """One run, and everything around it."""

    redis: Redis
    server: RedisServer
    cloud: Cloud
    layout: Layout
    run: RunId = RUN
    settings: UploaderSettings = field(default_factory=lambda: UploaderSettings(give_up_after_s=1.0))

    root_url: str = ""
    first_credentials: str = ""
    processes: list["UploaderProcess"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.records = Records(self.redis)
        for path in (self.outbox, self.log.parent, self.layout.locks("upload"), self.layout.redis_socket.parent):
            path.mkdir(parents=True)

    def adopt(self, run: RunId, claim_credentials: str) -> None:
        """Makes it the site of a run that a queue has really given to us."""
        self.run, self.first_credentials = run, claim_credentials
        self.outbox.mkdir()
        self.log.parent.mkdir()

    @property
    def manifest(self) -> Manifest:
        return Manifest(self.redis, self.run)

    @property
    def notes(self) -> Notes:
        return Notes(self.redis, self.run)

    @property
    def outbox(self) -> Path:
        return self.layout.outbox(self.run)

    @property
    def log(self) -> Path:
        return self.layout.log_directory(self.run) / "live.log"

    def file(self, name: str, content: bytes, encoding: Literal["gzip", "identity"] = "identity",
             content_type: str = "text/plain", *, optional: bool = False) -> Entry:  # fmt: skip
        """A collected file and its line in the index."""
        file = f"{len(list(self.outbox.iterdir()))}"
        (self.outbox / file).write_bytes(content)
        return Entry(name, file, len(content), content_type, encoding, EXPIRES, optional=optional)

    def linked(self, name: str, original: Path) -> Entry:
        """A collected file that costs no copy."""
        file = f"{len(list(self.outbox.iterdir()))}"
        (self.outbox / file).hardlink_to(original)
        return Entry(name, file, original.stat().st_size, "text/plain", "identity", EXPIRES)

    def left_by_the_executor(self, *entries: Entry, batches: Sequence[Sequence[int]] | None = None,
                             outcome: Outcome = COMPLETED, certify: bool = False, live: str = LIVE,
                             backing: str = BACKING, log: bytes = b"hello\n", bulk: str = "") -> None:  # fmt: skip
        """Index, log and record, as they are after the fan-out."""
        split = tuple(map(tuple, batches)) if batches is not None else (tuple(range(len(entries))),) if entries else ()
        self.log.write_bytes(log)
        Index(entries, split, str(self.log), live, backing, EXPIRES, certify, bulk_log_name=bulk).write(self.outbox)
        self.fanned_out(len(split), outcome)

    def second_run(self) -> RunId:
        """Another run, without artifacts, that waits for its end."""
        other = RunId(self.run.task_id, 1)
        outbox, log = self.layout.outbox(other), self.layout.log_directory(other)
        outbox.mkdir()
        log.mkdir()
        Index((), (), str(log / "live.log"), "", BACKING, EXPIRES).write(outbox)
        self.fanned_out(0, run=other)
        return other

    def phase_of(self, run: RunId) -> str:
        record = self.records.read(run)
        return record.phase if record else "absent"

    def fanned_out(self, batches: int, outcome: Outcome = COMPLETED, run: RunId | None = None) -> None:
        run = run or self.run
        self.records.claim(run, {}, UNTIL, "group", "worker", self.first_credentials or credentials("first"))
        self.records.move(run, ("claimed",), "preparing", "me")
        self.records.move(run, ("preparing",), "running", "me")
        self.records.move(run, ("running",), "collecting", "me")
        self.records.fan_out(run, "me", batches, outcome)

    def service(self) -> Service:
        """An uploader in this process, with the rights of its role."""
        taskcluster = Taskcluster(self.root_url or self.cloud.url, timeout_s=5)
        signer = SignerClient(self.layout.signer_socket, 5)
        return Service(
            self.server.client("uploader"), taskcluster, Transfers(None, 5), signer, self.layout, self.settings, 0.01
        )

    def upload_all(self, service: Service | None = None) -> None:
        """Every batch, then the end."""
        index = Index.read(self.outbox)
        with closing(service or self.service()) as worker:
            for number in range(len(index.batches)):
                worker.upload(self.run.task_id, self.run.run_id, number)
            assert worker.finish(self.run.task_id, self.run.run_id)

    def renew(self, client_id: str) -> None:
        self.records.renew(self.run, UNTIL, credentials(client_id))

    def recorded(self) -> dict[str, Sent]:
        """What the manifest knows of the files that were left."""
        return self.manifest.done((number, entry.name) for number, entry in enumerate(Index.read(self.outbox).entries))

    def sent(self, name: str) -> Sent:
        return self.recorded()[name]

    @property
    def record(self) -> Record:
        record = self.records.read(self.run)
        assert record is not None
        return record

    @property
    def outcome(self) -> Outcome:
        assert self.record.outcome is not None
        return self.record.outcome

    def uploaded_log(self) -> str:
        return self.cloud.stored[BACKING].content.decode()

    def inbox(self) -> list[bytes]:
        return [bytes(run) for run in self.redis.lrange(keys.INBOX, 0, -1) if isinstance(run, bytes)]

    def configuration(self) -> Path:
        """A configuration file for real uploader processes."""
        password = self.layout.redis_password("uploader")
        password.parent.mkdir(parents=True, exist_ok=True)
        password.write_text(self.server.address("uploader").password_file.read_text())
        if not self.layout.redis_socket.exists():
            self.layout.redis_socket.symlink_to(self.server.socket)
        path = self.layout.state_dir / "worker.toml"
        root_url = self.root_url or self.cloud.url
        path.write_text(
            f'[taskcluster]\nroot_url = "{root_url}"\nclient_id = "worker"\naccess_token_file = "/none"\n'
            '[worker]\ntask_queue_id = "proj/pool"\nworker_group = "g"\nworker_id = "w"\n'
            f'state_dir = "{self.layout.state_dir}"\n[uploader]\ngive_up_after_s = {self.settings.give_up_after_s}\n'
            f"concurrency = {self.settings.concurrency}\n"
        )
        return path

    def process(self) -> "UploaderProcess":
        self.processes.append(UploaderProcess(self.configuration()))
        return self.processes[-1]


class UploaderProcess:
    """A real uploader."""

    def __init__(self, configuration: Path) -> None:
        command = [sys.executable, "-m", "taskward.uploader", "--config", str(configuration)]
        self.popen = subprocess.Popen(command)

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(10)

    def terminate(self) -> int:
        self.popen.terminate()
        return self.popen.wait(10)
