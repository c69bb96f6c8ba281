"""Where everything lies below `state_dir`, who owns it and who may enter.

==================  ==========================  =====================================================================
path                owner:group mode (as root)  what
==================  ==========================  =====================================================================
run/redis/          tw-redis:tw-queue 2750      redis.sock: the queue's processes are in tw-queue; no task ever is
run/signer/         tw-signer:tw-sign 2750      signer.sock: the uploader is in tw-sign
run/keyholder/      tw-keys:tw-hold 2750        keyholder.sock: only the signer is in tw-hold
run/decrypter/      tw-decrypt:root 2750        decrypter.sock: only root gets in
run/shells/         root:tw-gateway 0750        one socket a run with an interactive shell; no task is in the group
run/desktops/       root 0711                   one directory a run with a remote desktop, for its own user
run/status/         root:tw-queue 1770          health and metrics sockets
run/supervisor/     root 0700                   supervisor.sock, supervisord.conf and pid
locks/              root:tw-queue 0750          no task gets in: it could hold the locks of the dead
locks/execute/      root:tw-claimer 0750        proof of life of executors and their jobs
locks/retained/     root:tw-claimer 0750        runs that are over and kept for a while
locks/owners/       root:tw-claimer 0750        proof of life of job processes that own a run
locks/upload/       tw-uploader:tw-claimer 0750 proof of life of uploaders
logs/               root:tw-logs 0750           one directory a run: live.log, done
outbox/             root:tw-uploader 0750       one directory a run: index.json and the files to send
tasks/              root 0711                   one directory a run, owned by its own user, 0700
caches/             root 0700                   writable caches of tasks, one directory each: item.json, content
container-caches/   root 0700                   the same of tasks in containers, whose files may belong to anybody
downloads/          root 0700                   content of mounts, one directory for each artifact or URL
display-tools/      root 0755                   programs of this host that show the displays of containers
unpacked/           root 0700                   read-only directories of mounts, one directory for each archive
secrets/ROLE/       that role 0500              redis-password, access-token
secrets/admin/      tw-redis 0500               redis.conf, users.acl, the administrator's password
run/taskward.toml   root 0644                   the resolved configuration, without any secret
metrics/ROLE/       that role 0755              what claimer, executors and uploaders count
tmp/ROLE/           that role 0700              home and temporary files of a process
var/log/            root 0700                   what the processes say
keys/               tw-keys 0700                private keys
public-keys/        tw-keys 0755                public halves
decrypter/          tw-decrypt 0700             the private key of encrypted environments, the audit log of its use
public-encryption/  tw-decrypt 0755             its public half
redis/, signer/,    their role 0700             what these processes keep
devcluster/
==================  ==========================  =====================================================================

As an ordinary user everything belongs to that user, 0700.
"""

from dataclasses import dataclass
from pathlib import Path

from taskward.core.ids import RunId


@dataclass(frozen=True)
class Layout:
    """Paths below one state directory."""

    state_dir: Path

    @property
    def redis_socket(self) -> Path:
        """Where Redis listens."""
        return self.state_dir / "run/redis/redis.sock"

    @property
    def signer_socket(self) -> Path:
        """Where the signer listens."""
        return self.state_dir / "run/signer/signer.sock"

    @property
    def keyholder_socket(self) -> Path:
        """Where the keyholder listens."""
        return self.state_dir / "run/keyholder/keyholder.sock"

    @property
    def decrypter_socket(self) -> Path:
        """Where the decrypter listens, if there is one."""
        return self.state_dir / "run/decrypter/decrypter.sock"

    @property
    def encryption_key(self) -> Path:
        """The public key for encrypted environments."""
        return self.state_dir / "public-encryption/encryption.asc"

    @property
    def logs(self) -> Path:
        """The log directories of all runs."""
        return self.state_dir / "logs"

    @property
    def tasks(self) -> Path:
        """The working directories of all runs."""
        return self.state_dir / "tasks"

    @property
    def shells(self) -> Path:
        """The sockets of interactive shells; the directory's group may use them."""
        return self.state_dir / "run/shells"

    def shell_socket(self, run: RunId) -> Path:
        """Where the run's shells are asked for; longer than a socket's address may be, see `core.shell`."""
        return self.shells / f"{run.directory}.sock"

    @property
    def desktops(self) -> Path:
        """The remote desktops of all runs."""
        return self.state_dir / "run/desktops"

    def desktop(self, run: RunId) -> Path:
        """What the servers of the run's remote desktop read, and their socket."""
        return self.desktops / run.directory

    @property
    def display_tools(self) -> Path:
        """What shows the displays of containers, one directory for each version."""
        return self.state_dir / "display-tools"

    def locks(self, queue: str) -> Path:
        """Proof of life of the workers of `queue`."""
        return self.state_dir / "locks" / queue

    @property
    def proofs(self) -> Path:
        """Proof of life of the processes that own runs, for those who cannot see their pids."""
        return self.state_dir / "locks/owners"

    def log_directory(self, run: RunId) -> Path:
        """``live.log`` while the run lives, ``done`` when nothing more will come."""
        return self.logs / run.directory

    def outbox(self, run: RunId) -> Path:
        """``index.json`` and what it lists."""
        return self.state_dir / "outbox" / run.directory

    def task_directory(self, run: RunId) -> Path:
        """Parent of the task's own directory."""
        return self.tasks / run.directory

    def redis_password(self, role: str) -> Path:
        """The role's Redis password."""
        return self.state_dir / "secrets" / role / "redis-password"

    @property
    def access_token(self) -> Path:
        """The worker's own Taskcluster token, for the claimer only."""
        return self.state_dir / "secrets/claimer/access-token"
