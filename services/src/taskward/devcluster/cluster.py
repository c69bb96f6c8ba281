"""All parts of the cluster, put together."""

from flask import has_request_context, request

from taskward.devcluster.artifacts import Artifacts
from taskward.devcluster.authentication import Authenticator
from taskward.devcluster.claims import Claims
from taskward.devcluster.clients import Clients
from taskward.devcluster.clock import Clock, SystemClock
from taskward.devcluster.creation import Creation
from taskward.devcluster.database import Database
from taskward.devcluster.identifiers import new_token
from taskward.devcluster.index import Index
from taskward.devcluster.objects import Objects
from taskward.devcluster.purge_cache import PurgeCache
from taskward.devcluster.queue_workers import QueueWorkers
from taskward.devcluster.reading import Reading
from taskward.devcluster.resolver import Resolver
from taskward.devcluster.roles import Roles
from taskward.devcluster.runs import Runs
from taskward.devcluster.scheduling import Scheduling
from taskward.devcluster.secrets import Secrets
from taskward.devcluster.settings import Settings
from taskward.devcluster.signed_urls import SignedUrls
from taskward.devcluster.storage import Storage
from taskward.devcluster.tasks import Tasks
from taskward.devcluster.waiting import WaitingRoom
from taskward.devcluster.worker_errors import WorkerErrors
from taskward.devcluster.worker_pools import WorkerPools

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Cluster:
    """The services without their HTTP; opening it makes what is missing in the state folder.

    One process may have a state folder open at a time. The resolver is not started here.
    """

    def __init__(self, settings: Settings, root_url: str, clock: Clock | None = None) -> None:
        self.settings = settings
        self.root_url = root_url
        self.clock = clock = clock or SystemClock()
        settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.database = database = Database(settings.state_dir / "devcluster.sqlite")
        self.roles = Roles(database, clock)
        self.clients = Clients(database, self.roles, clock)
        self.authenticator = Authenticator(self.clients.load, self.roles, clock)
        self.urls = SignedUrls(self._callers_url, database.fact("storage-key", new_token), clock)
        self.storage = Storage(settings.state_dir / "blobs", database, clock)
        self.objects = Objects(database, self.storage, self.urls, clock)
        self.index = Index(database, clock)
        self.secrets = Secrets(database, clock)
        self.purge_cache = PurgeCache(database, clock, settings.purge_cache_s)
        self.worker_pools = WorkerPools(database, self.clients, clock)
        self.worker_errors = WorkerErrors(database, self.worker_pools, clock)
        self._assemble_queue()

    def _assemble_queue(self) -> None:
        database, clock, settings = self.database, self.clock, self.settings
        self.room = WaitingRoom()
        self.tasks = tasks = Tasks(database)
        self.scheduling = Scheduling(database, tasks, self.room, clock)
        self.creation = Creation(database, tasks, self.scheduling, clock)
        self.runs = Runs(database, tasks, self.scheduling, clock, self.index.task_resolved)
        self.claims = Claims(database, tasks, self.clients, clock, settings.claim_timeout)
        self.queue_workers = QueueWorkers(database, clock)
        self.artifacts = Artifacts(database, tasks, self.objects, self.clients, self.urls, clock)
        self.reading = Reading(self.artifacts, self.objects, self.urls, clock)
        self.resolver = Resolver(database, tasks, self.runs, clock, settings.deadline_delay)

    def _callers_url(self) -> str:
        """What leads to the storage: the root URL, or loopback for who comes by a port that is published there."""
        if has_request_context() and request.host.rpartition(":")[0] in _LOOPBACK:
            return f"http://{request.host}"
        return self.root_url

    def close(self) -> None:
        """Stop the resolver and close the database."""
        self.resolver.stop()
        self.database.close()
