"""The values that keys of a configuration may have, as the reference server reads them."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import regress
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticUseDefault

from local_runner import ecmascript, names
from local_runner.config_file import Context


def _absolute(path: str, info: ValidationInfo) -> str:
    """Make a path absolute; a relative one is relative to the file that names it."""
    if "\0" in path:
        raise ValueError("a path must not hold a null byte: remove it")
    context: Context = info.context  # type: ignore[assignment]
    # Not resolved: a path that goes through a link stays one when the link is changed.
    by_text = os.path.normpath(context.folder / path)
    in_a_shell = os.path.realpath(context.folder / path)
    if os.path.realpath(by_text) != in_a_shell:
        context.warnings.append(
            f"{path}: .. comes after a link and is taken by the text: this is {by_text}, not "
            f"{in_a_shell} as in a shell; write the path without .."
        )
    return by_text


def _names_a_file(path: str) -> str:
    if not Path(path).name:
        raise ValueError(f"it must name a file, {path} does not: change it")
    return path


def _without_null(value: str) -> str:
    if "\0" in value:
        raise ValueError("it must not hold a null byte: remove it")
    return value


def _variable_name(name: str) -> str:
    if not name or "=" in name:
        raise ValueError(
            f"{name!r} is not the name of a variable: it must not be empty or hold a ="
        )
    return _without_null(name)


def _program(words: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
    """Make a program absolute that is named by a path; others are looked for in the PATH."""
    if words and os.sep in words[0]:
        return (_absolute(words[0], info), *words[1:])
    return words


def _valid_pattern(pattern: str) -> str:
    try:
        regress.Regex(pattern)
    except regress.RegressError as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    return pattern


def _broker_url(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    try:
        valid = parts.scheme in ("nats", "tls") and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.path not in ("", "/") or parts.query or parts.fragment:
        # Not quoted: it may hold a password.
        raise ValueError("it is not a URL such as tls://broker.example:4222")
    return url


def number(value: object) -> object:
    """A number as the reference server reads it: also out of text, and `30.0` for 30."""
    read = ecmascript.number(value) if isinstance(value, str) and value else value
    return int(read) if isinstance(read, float) and read.is_integer() else read


def absent(*values: object) -> Callable[[object], object]:
    """Make a validator that takes some values for an absent one, as the reference server does."""

    def use_default(value: object) -> object:
        if type(value) is not bool and value in values:
            raise PydanticUseDefault
        return value

    return use_default


NUMBER_OR_EMPTY = (BeforeValidator(number), BeforeValidator(absent("")))
Text = Annotated[str, BeforeValidator(absent(""))]
FilePath = Annotated[Text, AfterValidator(_absolute)]
Word = Annotated[str, Field(min_length=1), AfterValidator(_without_null)]
VariableName = Annotated[str, AfterValidator(_variable_name)]
VariableValue = Annotated[str, AfterValidator(_without_null)]
Count = Annotated[int, Field(ge=0), BeforeValidator(number)]
AtLeastOne = Annotated[int, Field(ge=1), BeforeValidator(number), BeforeValidator(absent("", 0))]
RequiredPath = Annotated[str, Field(min_length=1), AfterValidator(_absolute)]
NamedFile = Annotated[FilePath, AfterValidator(_names_a_file)]
Pattern = Annotated[Text, AfterValidator(_valid_pattern)]
Launcher = Annotated[tuple[Word, ...], Field(strict=False), AfterValidator(_program)]
Host = Annotated[str, AfterValidator(names.host_name)]
BrokerUrl = Annotated[str, AfterValidator(_broker_url)]
Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Origin = Annotated[str, AfterValidator(names.origin)]


class Strict(BaseModel):
    """An object of a configuration: no key but its own, `null` for what may be left out."""

    model_config = ConfigDict(
        strict=True, extra="forbid", frozen=True, alias_generator=to_camel, validate_default=True
    )

    @field_validator("*", mode="before")
    @classmethod
    def _null_is_absent(cls, value: object, info: ValidationInfo) -> object:
        if value is None and cls.model_fields[info.field_name or ""].default is not None:
            raise PydanticUseDefault
        return value
