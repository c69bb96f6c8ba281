"""APIs of release engineers, called with a token for just what the task may do there."""

import secrets
import time
from pathlib import Path

import pytest

from proxy.containers import status
from proxy.named import EVERYTHING, RELENG_SCOPE, Named, content
from simulators.releng import ISSUING_TOKEN

pytestmark = pytest.mark.root


def test_releng_requests_carry_a_token_for_the_permissions_in_the_scopes_word_for_word(named: Named) -> None:
    named.allow(EVERYTHING, RELENG_SCOPE, "docker-worker:relengapi-proxy:*", "docker-worker:relengapi-proxy:", "*")
    issued = len(named.tokens.issued)
    answers = [content(named.ask("relengapi/tooltool/sha512/x", fields=["Authorization: mine"])) for _ in range(2)]
    assert [answer["path"] for answer in answers] == ["/sha512/x"] * 2
    assert answers[0]["authorization"] == answers[1]["authorization"] == f"Bearer tmp-{issued + 1}"
    wanted = named.tokens.issued[-1]
    assert (wanted["typ"], wanted["permissions"]) == ("tmp", ["*", "tooltool.download.internal"])
    assert 590 < time.mktime(time.strptime(wanted["expires"], "%Y-%m-%dT%H:%M:%SZ")) - time.time() - _utc_s() <= 600


def _utc_s() -> float:
    now_s = time.time()
    return time.mktime(time.gmtime(now_s)) - time.mktime(time.localtime(now_s))


@pytest.mark.parametrize("scopes", [["*"], ["docker-worker:*"], ["docker-worker:relengapi-proxy:"], []])
def test_wide_scopes_give_no_permission(named: Named, scopes: list[str]) -> None:
    named.allow(EVERYTHING, *scopes)
    answer = named.ask("relengapi/tooltool/x")
    assert (status(answer), content(answer)["code"]) == (403, "NoPermissions")
    assert named.tooltool.calls == named.tokens.calls == []


@pytest.mark.parametrize(
    "path", ["/", "/tooltoolx", "/treestatus/x", "/mapper", "/mapper/v10/x", "/TOOLTOOL/x", "/%74ooltool"]
)
def test_unknown_routes_are_not_found_and_the_worker_goes_on(named: Named, path: str) -> None:
    answer = named.ask(f"relengapi{path}")
    assert (status(answer), content(answer)["code"]) == (404, "UnknownRoute")
    assert status(named.ask("relengapi/tooltool?a")) == 200


@pytest.mark.parametrize(
    "answer",
    [(500, {}), (403, {}), (200, b"garbage"), (200, {"result": {}}), (200, {"result": {"token": "a\r\nb"}}), (200, [])],
)
def test_a_token_service_that_misbehaves_costs_one_clear_answer(named: Named, answer: tuple[int, object]) -> None:
    named.allow(EVERYTHING, "docker-worker:relengapi-proxy:other" + secrets.token_hex(3))
    named.tokens.answers = [answer] * 3
    refused = named.ask("relengapi/tooltool/x")
    assert (status(refused), content(refused)["code"]) == (502, "NoToken")
    assert ISSUING_TOKEN.encode() not in refused
    named.tokens.answers.clear()
    assert status(named.ask("relengapi/tooltool/x")) == 200


def test_secrets_stand_in_no_answer_and_no_log(named: Named) -> None:
    log = (named.pair.rig.folder / "log").read_text()
    assert ISSUING_TOKEN not in log
    assert "tmp-" not in log
    assert "access-" not in log


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path) -> None:
    from taskward.proxy.errors import StartError
    from taskward.proxy.named import secretfile

    file = tmp_path / "token"
    file.write_text("x")
    file.chmod(0o440)
    with pytest.raises(StartError, match="chmod 400"):
        secretfile.read(file, "[x] y")
