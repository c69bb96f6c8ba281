"""``python -m taskward.cli.cluster``: the state of a development worker whose processes are containers.

Runs as root in a container of its own and ends before the others begin (docker-compose.yml). Repeating it keeps what is
there: keys, passwords, and the configuration, which may be edited.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from taskward.cli.accounts import ensure_accounts, user_of
from taskward.cli.devworker import PORTS, register, sections
from taskward.cli.directories import ensure_directories
from taskward.cli.errors import CommandError
from taskward.cli.introduction import Party, introduce
from taskward.cli.places import DEV_CONFIG
from taskward.cli.provision import provision, replace
from taskward.cli.toml import document
from taskward.core.errors import ConfigurationError, TaskwardError
from taskward.core.settings import Settings

_EX_CONFIG: Final = 64
SHELVES: Final = ("caches", "container-caches", "display-tools", "downloads", "images", "unpacked")
"""The executor's own, which it makes itself where nobody has to mount them."""
SIGNER: Final = "signer.signing"
"""The signer's name on the one network that it has with the uploaders; it listens there and nowhere else."""
SIGNER_PORT: Final = 60025


def prepare(state_dir: Path, gateway_url: str, most_executors: int, most_uploaders: int) -> None:
    """Users, directories, the worker's client in the development cluster, passwords, configuration.

    Args:
        state_dir: at the same path in all containers that share a part of it.
        gateway_url: how readers of live logs reach the gateway from outside.
        most_executors: how many containers of it may work at once; tasks are claimed for those that run.
        most_uploaders: for how many the artifacts of a run are split.

    Raises:
        ConfigurationError: something cannot be made, or the configuration cannot be used.
        CommandError: the development cluster does not come up.
    """
    ensure_accounts()
    ensure_directories(state_dir)
    for shelf in SHELVES:
        (state_dir / shelf).mkdir(mode=0o700, exist_ok=True)
    signer = Party("signer", SIGNER, state_dir / "secrets/signer")
    uploader = Party("uploader", "uploader", state_dir / "secrets/uploader")
    introduce((signer, uploader))
    config = state_dir / DEV_CONFIG
    if not config.exists():
        token = state_dir / "dev-access-token"
        replace(token, register(state_dir, PORTS["devcluster"]), user_of("supervisor"), 0o400)
        file = sections(
            state_dir,
            f"http://devcluster:{PORTS['devcluster']}",
            most_executors,
            uploader={
                "processes": most_uploaders, "signer_url": f"https://{signer.name}:{SIGNER_PORT}",
                "signer_ca_file": uploader.authority, "signer_certificate_file": uploader.certificate,
                "signer_key_file": uploader.key,
            },
            signer={
                "listen": f"{signer.name}:{SIGNER_PORT}", "allowed_clients": [uploader.name],
                "client_ca_file": signer.authority, "certificate_file": signer.certificate, "key_file": signer.key,
            },
            gateway={"host": "0.0.0.0", "port": PORTS["gateway"], "public_url": gateway_url},  # noqa: S104 - of its container
            proxy={"port": PORTS["proxy"], "container": "auto", "container_port": 80},
        )  # fmt: skip
        replace(config, document(file), user_of("supervisor"), 0o644)
    provision(Settings.load(config))


def main() -> int:
    """Exit codes: 0 all is there, 64 something cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m taskward.cli.cluster", description=__doc__)
    parser.add_argument("--state-dir", type=Path, required=True, metavar="DIR", help="where everything lies")
    parser.add_argument("--gateway-url", required=True, metavar="URL", help="of live logs, as readers outside reach it")
    parser.add_argument("--most-executors", type=int, default=4, metavar="N")
    parser.add_argument("--most-uploaders", type=int, default=4, metavar="N")
    given = parser.parse_args()
    try:
        if os.geteuid() != 0:
            raise ConfigurationError("only root can make directories for the worker's users")
        prepare(given.state_dir, given.gateway_url, given.most_executors, given.most_uploaders)
    except (TaskwardError, CommandError) as error:
        print(f"cluster: {error}", file=sys.stderr)  # noqa: T201 - the reader is at the terminal
        return _EX_CONFIG
    return 0


if __name__ == "__main__":
    sys.exit(main())
