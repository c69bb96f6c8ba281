"""What a failure at one artifact means: another attempt, and for how long, or an outcome of the run."""

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, TypeVar

from taskward.core.errors import Conflict, Refused, Unreachable
from taskward.core.outcome import exception, failed
from taskward.uploader.claim import Claim
from taskward.uploader.errors import ArtifactLost, Denied, StorageRefused, UrlExpired, UrlUseless
from taskward.uploader.patience import Patience

T = TypeVar("T")
_DENIED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN})


@dataclass(frozen=True)
class Judgement:
    """Of the artifacts of one run; safe to use from several threads.

    Attributes:
        patience: with services that decide nothing.
        denials: with services that do not take the credentials of a claim that is ours (clocks that differ, a service
            in trouble, something between): worth a few attempts, and never the task's fault.
    """

    claim: Claim
    patience: Patience
    denials: Patience

    def of(self, attempt: Callable[[], T]) -> T:
        """The result of `attempt`, which is made again while that may help; it asks the claim for credentials itself.

        Raises:
            ArtifactLost: with the outcome that the run deserves by generic-worker's table.
            ClaimLost: as the attempt does.
        """
        told = self._told(attempt)
        try:
            return self.patience.keep_trying(lambda: self.denials.keep_trying(told))
        except Conflict as error:
            raise ArtifactLost(exception("malformed-payload", str(error))) from error
        except Refused as error:
            raise ArtifactLost(failed(str(error))) from error
        except (Denied, Unreachable, StorageRefused) as error:
            raise ArtifactLost(exception("resource-unavailable", str(error))) from error

    def _told(self, attempt: Callable[[], T]) -> Callable[[], T]:
        """`attempt` with errors that tell what may help: other credentials, or (once) another URL."""
        had_another_url = False

        def told() -> T:
            nonlocal had_another_url
            try:
                return attempt()
            except UrlUseless as error:
                if had_another_url:
                    raise
                had_another_url = True
                raise UrlExpired(str(error)) from error
            except Refused as error:
                if error.status not in _DENIED or self.claim.is_decided():
                    raise
                self.claim.look_up_again()
                raise Denied(
                    f"the run's credentials are not accepted (is this host's clock right?): {error}"
                ) from error

        return told
