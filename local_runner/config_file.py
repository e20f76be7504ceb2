"""A JSON file of the configuration: read strictly, all its faults told in one go."""

from __future__ import annotations

import difflib
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

ModelT = TypeVar("ModelT", bound=BaseModel)
Location = tuple[str | int, ...]


class ConfigError(Exception):
    """A configuration that cannot be used; the message names file, key and what is wanted."""


class ConfigMissing(ConfigError):
    """There is no `config.json`."""


class _Object(dict[str, Any]):
    """An object of JSON, with the keys that stand in it more than once."""

    duplicates: Sequence[str] = ()


@dataclass(frozen=True)
class Context:
    """What validators of a model get of the file that is read.

    Attributes:
        folder: Where its paths count from.
        warnings: Where they say what may be a mistake and is none.
    """

    folder: Path
    warnings: list[str]


def read(path: Path, model: type[ModelT], warnings: list[str]) -> ModelT:
    """Read a file and check it.

    Args:
        path: The file. Its paths count from its folder, that of the link if it is one.
        model: What it must hold; its validators get a `Context`.
        warnings: What may be a mistake and is none is added to it.

    Raises:
        ConfigMissing: If there is no such file.
        ConfigError: If it cannot be read or holds anything that `model` does not.
    """
    content = _parse(path)
    faults = [f"{_shown(content, where)}: {what}" for where, what in _duplicate_keys(content)]
    faults += _duplicate_ids(content)
    try:
        folder = Path(os.path.normpath(path.absolute())).parent
        found = model.model_validate(content, context=Context(folder, warnings))
    except ValidationError as error:
        faults += [
            _fault(problem, content, model)
            for problem in error.errors(include_url=False, include_input=False)
        ]
    if not faults:
        return found
    if len(faults) == 1:
        raise ConfigError(f"{path}: {faults[0]}")
    raise ConfigError("\n  ".join([f"{path}: {len(faults)} faults:", *faults]))


def _parse(path: Path) -> object:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigMissing(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise ConfigError(f"{path}: is a folder: name the file in it") from error
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error}") from error
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
        json.dumps(content, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise ConfigError(f"{path}: it begins with a byte order mark: remove that") from error
        where = f"at line {error.lineno} column {error.colno}"
        raise ConfigError(f"{path}: not valid JSON: {error.msg} {where}") from error
    except UnicodeEncodeError as error:
        raise ConfigError(f"{path}: half a surrogate pair is not valid text: remove it") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not valid JSON: {error}") from error
    return content


def _object(pairs: Sequence[tuple[str, Any]]) -> _Object:
    found = _Object(pairs)
    found.duplicates = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _duplicate_keys(content: object, where: Location = ()) -> Iterator[tuple[Location, str]]:
    """The keys that stand twice: all but the last would be dropped without a word."""
    if isinstance(content, _Object):
        for key in content.duplicates:
            yield (*where, key), "the key stands there more than once: remove all but one"
    parts: Mapping[Any, object] = {}
    if isinstance(content, dict):
        parts = content
    elif isinstance(content, list):
        parts = dict(enumerate(content))
    for key, part in parts.items():
        yield from _duplicate_keys(part, (*where, key))


def _duplicate_ids(content: object) -> list[str]:
    """Script ids that stand twice: which of the scripts would run?"""
    scripts = content.get("scripts") if isinstance(content, dict) else None
    listed = scripts if isinstance(scripts, list) else []
    ids = [script.get("id") for script in listed if isinstance(script, dict)]
    return [
        f"duplicate script id {script_id!r} (listed {count} times)"
        for script_id, count in Counter(each for each in ids if isinstance(each, str)).items()
        if count > 1
    ]


def _fault(problem: ErrorDetails, content: object, model: type[BaseModel]) -> str:
    """One fault: where it is, and what is wanted."""
    match problem["type"]:
        case "extra_forbidden":
            wanted = _unknown(str(problem["loc"][-1]), _keys_at(model, problem["loc"][:-1]))
        case "missing":
            wanted = "missing, it must be there"
        case "value_error":
            wanted = str(problem["ctx"]["error"])
        case "model_type" | "dict_type":
            wanted = "input should be an object"
        case "tuple_type":
            wanted = "input should be a valid array"
        case _:
            wanted = problem["msg"][0].lower() + problem["msg"][1:]
    where = _shown(content, problem["loc"])
    return f"{where}: {wanted}" if where else wanted


def _unknown(key: str, known: Sequence[str]) -> str:
    by_lower = {name.lower(): name for name in known}
    near = difflib.get_close_matches(key.lower().replace("_", ""), by_lower, n=1)
    if near:
        return f"unknown key, did you mean {by_lower[near[0]]}?"
    return f"unknown key, remove it; known are {', '.join(known)}"


def _keys_at(model: type[BaseModel], where: Location) -> Sequence[str]:
    """The keys of the object at a place of a file that `model` describes."""
    for part in where:
        if isinstance(part, str):
            fields = {field.alias: field.annotation for field in model.model_fields.values()}
            model = next(_models_in(fields[part]))
    return [field.alias or name for name, field in model.model_fields.items()]


def _models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models_in(part)


def _shown(content: object, where: Location) -> str:
    """A place in a file; a script goes by its id, if it has one."""
    script = ""
    if where[:1] == ("scripts",) and len(where) > 1 and isinstance(content, dict):
        found = content["scripts"][where[1]]
        script_id = found.get("id") if isinstance(found, dict) else None
        if isinstance(script_id, str) and script_id:
            script, where = f"script {script_id!r}: ", where[2:]
    # A key may hold a line feed; a fault is one line all the same.
    return json.dumps(script + ".".join(map(str, where)), ensure_ascii=False)[1:-1]
