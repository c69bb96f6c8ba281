"""Makes a whole task definition out of what a person wrote."""

import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml

from taskward.cli.errors import BadInput, NoInput
from taskward.core.clock import format_time

_DEADLINE: Final = timedelta(hours=24)
_EXPIRES: Final = timedelta(days=28)
_DEFINITION_ONLY: Final = frozenset({"payload", "metadata", "taskQueueId", "provisionerId", "workerType"})
_MAX_BYTES: Final = 10 << 20
_SHOWN: Final = 100
_MERGE: Final = "tag:yaml.org,2002:merge"
_MOST_VALUES: Final = 1_000_000
_TOO_MUCH: Final = f"its aliases stand for more than {_MOST_VALUES} values"


class _Loader(yaml.SafeLoader):
    """Refuses tables with a key twice, where YAML's usual reader silently takes the last one."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """As it is written, before ``<<`` merges anything."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            line = key.start_mark.line + 1
            if key.value in lines:
                name, first = key.value[:_SHOWN], lines[key.value]
                raise yaml.YAMLError(f"line {line}: {name!r} is there twice, first in line {first}; keep one")
            lines[key.value] = line
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """What ``<<`` merges."""
        super().flatten_mapping(node)
        if len(node.value) > _MOST_VALUES:
            raise yaml.YAMLError(_TOO_MUCH)


def read(path: Path) -> Mapping[str, Any]:
    """The table in a YAML or JSON file; ``-`` is standard input.

    Raises:
        NoInput: it cannot be read.
        BadInput: it is no table, or cannot be a task; the text has the line where there is one.
    """
    try:
        with Path("/dev/stdin" if str(path) == "-" else path).open("rb") as stream:
            text = stream.read(_MAX_BYTES + 1)
        if len(text) > _MAX_BYTES:
            raise BadInput(f"{path}: larger than the {_MAX_BYTES} bytes that the queue takes")
        data = yaml.load(text.decode(), _Loader)  # noqa: S506 - a SafeLoader
        if _count(data, {}) > _MOST_VALUES:
            raise BadInput(f"{path}: {_TOO_MUCH}")
    except OSError as error:
        raise NoInput(f"{path}: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: {error}") from error
    except RecursionError as error:
        raise BadInput(f"{path}: nested too deeply") from error
    if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
        raise BadInput(f"{path}: must be a task definition or a payload, that is a table")
    if not isinstance(data.get("metadata", {}), dict):
        raise BadInput(f"{path}: metadata must be a table (given: {str(data['metadata'])[:_SHOWN]})")
    try:
        return json.loads(json.dumps(data, default=_plain))  # type: ignore[no-any-return]  # a dict, as checked above
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInput(f"{path}: cannot be written as JSON: {error}") from error


def complete(written: Mapping[str, Any], task_queue_id: str, name: str, now: datetime) -> dict[str, Any]:
    """A definition for `createTask`: what is written, and defaults for the rest.

    When a payload's task expires is ours to say; of a definition without `expires` it is the queue's.

    Args:
        written: a task definition, or only its payload (told apart by the definition's own keys).
        task_queue_id: where to run it when the definition does not say.
        name: for `metadata.name`.
        now: when it is created.
    """
    given = dict(written)
    if not written.keys() & _DEFINITION_ONLY:
        given = {"payload": dict(written), "expires": format_time(now + _EXPIRES)}
    metadata = {
        "name": name,
        "description": "run by hand",
        "owner": "nobody@example.com",
        "source": "https://example.com/",
    }
    queue = {} if "provisionerId" in given else {"taskQueueId": task_queue_id}
    return {
        **queue,
        "created": format_time(now),
        "deadline": format_time(now + _DEADLINE),
        "payload": {},
        **given,
        "metadata": metadata | dict(given.get("metadata", {})),
    }


def _count(value: Any, known: dict[int, int]) -> int:
    """How many values it is once each alias is written out, which may be more than any memory holds."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list | set | tuple) else ()
    if id(value) not in known:
        known[id(value)] = 1  # one that contains itself is told later
        known[id(value)] += sum(_count(child, known) for child in children)
    return known[id(value)]


def _plain(value: Any) -> str:
    """YAML reads a bare time as a time; the queue wants it as text."""
    if isinstance(value, datetime):
        return format_time(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a value of type {type(value).__name__} ({str(value)[:_SHOWN]})")
