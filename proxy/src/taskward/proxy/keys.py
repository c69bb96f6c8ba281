"""The names in Redis that the proxy knows; it writes the last alone.

They are the same as in `taskward.core.keys`, where all names stand on one page; repeated here because this
package imports nothing else of ours. A test holds the two together.
"""

from typing import Final

CREDENTIALS_CHANNEL: Final = "tw:creds"
DEVICES: Final = "tw:devices"


def credentials(run_key: str) -> str:
    """The newest claim credentials of a run (``taskId/runId``): a string with JSON, see `credentials.parse`."""
    return f"tw:creds:{run_key}"


def peer(address: str) -> str:
    """Which run may use the proxy at this local address: a hash with ``taskId``, ``runId`` and who that is.

    A native task is a ``uid``; a container is a ``subnet`` (``172.20.0.0/16``) without its ``gateway``, seen through
    the device ``bridge`` (may be missing), and has ``upstreams``: what it may reach by name, separated by blanks.
    """
    return f"tw:peer:{address}"
