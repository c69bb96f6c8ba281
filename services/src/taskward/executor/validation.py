"""Does a payload conform to the schema? Every problem as one line that names what, where and why.

The schemas (`schema/*.json`) are the one place that lists the keys of a payload.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, cast

from jsonschema import Draft7Validator, FormatChecker, ValidationError, validators

from taskward.core.clock import parse_time

MOST_PROBLEMS: Final = 50
_SHOWN_CHARACTERS: Final = 120

Dialect = Literal["generic-worker", "docker-worker"]


@cache
def schema(dialect: Dialect = "generic-worker") -> dict[str, Any]:
    """The JSON schema (draft 7) of the payloads of that worker."""
    text = (Path(__file__).parent / f"schema/{dialect}.json").read_text()
    return dict(json.loads(text))


def problems(payload: object, dialect: Dialect = "generic-worker", strict: bool = True) -> list[str]:
    """What is wrong with `payload`, one line each as ``<path>: <why>``, at most 50; empty when nothing is.

    Without `strict`, keys that the schema does not know are no problem, other than features.
    """
    found = [*islice(_unusable_text(payload), MOST_PROBLEMS), *_against_schema(payload, dialect, strict)]
    if len(found) > MOST_PROBLEMS:
        found[MOST_PROBLEMS:] = ["(root): there are more problems than are listed here"]
    return found


def _against_schema(payload: object, dialect: Dialect, strict: bool) -> list[str]:
    errors = list(islice(_validator(dialect, strict).iter_errors(payload), MOST_PROBLEMS + 1))
    return [line for error in errors for line in _lines(error)]


def _lines(error: ValidationError) -> Iterator[str]:
    where = _path(error.absolute_path)
    if error.validator == "additionalProperties":
        known: Mapping[str, Any] = _mapping(error.schema).get("properties", {})
        for name in _mapping(error.instance):
            if name not in known:
                yield f"{where}: Additional property {_shown(name)} is not allowed{_hint(name, known)}"
    elif error.validator == "oneOf" and error.context:
        if wrong := list(_of_no_form(error)):
            yield from wrong
        else:
            yield from (line for each in _of_nearest_form(error) for line in _lines(each))
    else:
        yield f"{where}: {_reason(error)}"


def _of_no_form(error: ValidationError) -> Iterator[str]:
    """A line when the key that tells the forms apart, by one value for each, has none of these values."""
    values: dict[str, list[Any]] = {}
    for form in cast("list[Any]", error.validator_value):
        for key, part in form.get("properties", {}).items():
            if len(part.get("enum", ())) == 1:
                values.setdefault(key, []).extend(part["enum"])
    for key, allowed in values.items():
        given = _mapping(error.instance).get(key)
        if given is not None and given not in allowed:
            where = _path((*error.absolute_path, key))
            yield f"{where}: {_one_of(where, allowed, given)}"


def _one_of(what: str, allowed: list[Any], given: object) -> str:
    listed = ", ".join(json.dumps(value) for value in allowed)
    return f"{what} must be one of the following: {listed} (given: {_shown(json.dumps(given))})"


def _of_nearest_form(error: ValidationError) -> list[ValidationError]:
    """The problems with that form of a ``oneOf`` which the value was probably meant to have."""
    forms: dict[int, list[ValidationError]] = {}
    for each in error.context or ():
        forms.setdefault(int(each.relative_schema_path[0]), []).append(each)
    return min(forms.values(), key=lambda found: sum(map(_distance, found)))


def _distance(error: ValidationError) -> int:
    """How much a problem speaks against the form: missing and unknown keys do, a bad value of a key does not."""
    if error.relative_path:
        return 10 if error.validator == "enum" and len(cast("list[Any]", error.validator_value)) == 1 else 0
    if error.validator == "additionalProperties":
        known = _mapping(error.schema).get("properties", {})
        return sum(name not in known for name in _mapping(error.instance))
    return 100 if error.validator == "type" else 1


def _reason(error: ValidationError) -> str:
    given = f" (given: {_shown(json.dumps(error.instance))})"
    match error.validator:
        case "required":
            return error.message.replace("'", "").replace(" is a required property", " is required")
        case "enum":
            return _one_of(_path(error.absolute_path), cast("list[Any]", error.validator_value), error.instance)
        case "minimum":
            return f"Must be greater than or equal to {error.validator_value}{given}"
        case "type":
            return f"Invalid type. Expected: {_types(error.validator_value)}{given}"
        case "oneOf":
            return f"Must be one of the forms of the schema{given}"
        case "format":
            return f"Does not match format '{error.validator_value}'{given}"
        case "uniqueItems":
            return "array items must be unique"
        case "maxLength":
            return f"Must have at most {error.validator_value} characters, has {len(str(error.instance))}"
        case "dependencies":
            key, _, needed = error.message.replace("'", "").partition(" is a dependency of ")
            return f"{key} is required with {needed}"
        case "minItems":
            return f"Array must have at least {error.validator_value} items"
        case _:
            return _shown(error.message)


def _unusable_text(payload: object) -> Iterator[str]:
    """No program can be given a NUL, and no file or variable can bear half a character."""
    waiting: list[tuple[tuple[str | int, ...], object]] = [((), payload)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str) and (flaw := _flaw(value)):
            yield f"{_path(path)}: {flaw} (given: {_shown(json.dumps(value))})"
        elif isinstance(value, Mapping):
            for name, item in value.items():
                waiting += [((*path, name), item), (path, name)]
        elif isinstance(value, list):
            waiting += [((*path, number), item) for number, item in enumerate(value)]


def _flaw(text: str) -> str:
    if "\0" in text:
        return "must not contain a NUL character"
    return "" if text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text) else "is not valid Unicode"


def _path(parts: Any) -> str:
    return _shown(".".join(str(part) for part in parts)) or "(root)"


def _shown(text: str) -> str:
    plain = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return plain if len(plain) <= _SHOWN_CHARACTERS else f"{plain[:_SHOWN_CHARACTERS]}…"


def _hint(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name[:_SHOWN_CHARACTERS], known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _types(value: object) -> str:
    return " or ".join(value) if isinstance(value, list) else str(value)


def _unique(_validator: Any, wanted: bool, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """In one pass; the library compares each with each."""
    if wanted and isinstance(instance, list):
        texts = [json.dumps(item, sort_keys=True) for item in instance]
        if len(set(texts)) < len(texts):
            yield ValidationError("array items must be unique")


def _pattern(_validator: Any, wanted: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """``$`` is the end, as schemas mean it; Python's comes before a last line feed, too."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", wanted), instance):
        yield ValidationError(f"{instance!r} does not match {wanted!r}")


def _tolerant(part: Any, key: str = "") -> Any:
    """The schema without its refusal of unknown keys; a feature that nobody knows stays refused."""
    if isinstance(part, list):
        return [_tolerant(each) for each in part]
    if not isinstance(part, dict) or key == "features":
        return part
    kept = {name: each for name, each in part.items() if (name, each) != ("additionalProperties", False)}
    return {name: _tolerant(each, name) for name, each in kept.items()}


@cache
def _validator(dialect: Dialect, strict: bool) -> Any:
    formats = FormatChecker(formats=())
    formats.checks("date-time", raises=ValueError)(lambda value: not isinstance(value, str) or bool(parse_time(value)))
    extend: Any = validators.extend
    kind = extend(Draft7Validator, {"uniqueItems": _unique, "pattern": _pattern})
    wanted = schema(dialect) if strict else _tolerant(schema(dialect))
    return kind(wanted, format_checker=formats)
