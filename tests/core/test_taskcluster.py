"""What an answer means: Taskcluster's own words are final, those of anything between are not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from simulators.service import Call, Service, serving
from taskward.core.errors import Conflict, Refused, Unreachable
from taskward.core.taskcluster import Taskcluster

_PAGE = b"<html><body>something between</body></html>"


@dataclass
class Queue(Service):
    said: tuple[int, Any] = field(default=(200, {}))

    def answer(self, call: Call) -> tuple[int, Any]:
        return self.said


@pytest.fixture(scope="module")
def queue() -> Iterator[Queue]:
    with serving(Queue()) as queue:
        yield queue


def ask(queue: Queue, status: int, content: Any) -> dict[str, Any]:
    queue.said = status, content
    return Taskcluster(queue.url, give_up_after_s=0).call("POST", "queue", "task/x/runs/0/completed")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 520, 525, 599])
@pytest.mark.parametrize("content", [_PAGE, b"", {"message": "busy"}])
def test_trouble_on_the_way_decides_nothing(queue: Queue, status: int, content: Any) -> None:
    with pytest.raises(Unreachable):
        ask(queue, status, content)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("content", [_PAGE, b"", {}])
def test_a_redirect_is_no_success(queue: Queue, status: int, content: Any) -> None:
    with pytest.raises(Unreachable, match="root URL"):
        ask(queue, status, content)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413])
@pytest.mark.parametrize("content", [_PAGE, b"", b"default backend - 404", [1]])
def test_a_refusal_that_is_not_taskclusters_decides_nothing(queue: Queue, status: int, content: Any) -> None:
    with pytest.raises(Unreachable):
        ask(queue, status, content)


@pytest.mark.parametrize("content", [_PAGE, [1], b'"text"'])
def test_a_success_that_is_not_taskclusters_is_none(queue: Queue, content: Any) -> None:
    with pytest.raises(Unreachable):
        ask(queue, 200, content)


def test_taskclusters_refusal_has_status_code_and_words(queue: Queue) -> None:
    with pytest.raises(Refused, match="no such task") as refused:
        ask(queue, 404, {"code": "ResourceNotFound", "message": "no such task", "requestInfo": {}})
    assert (refused.value.status, refused.value.code) == (404, "ResourceNotFound")
    with pytest.raises(Conflict):
        ask(queue, 409, {"code": "RequestConflict", "message": "resolved"})


def test_an_answer_may_be_empty(queue: Queue) -> None:
    assert ask(queue, 204, b"") == {}
    assert ask(queue, 200, {"status": {}}) == {"status": {}}


def test_a_call_without_a_body_says_so(queue: Queue) -> None:
    ask(queue, 200, {})
    fields = queue.calls[-1].fields
    assert fields["content-length"] == "0"  # load balancers answer 411 to a POST without a length
    assert "content-type" not in fields
