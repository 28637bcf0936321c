"""Validates YAML files that people edit by pydantic models; every error has file, line and column.

A validator raises ValueError with the message that the person reads, or Problem where it has a hint or means a part of
its value. A model's `title`, with its article, is its name in messages: "unknown key 'x' in a rule". The `description`
of a field names its content: "rules must be a list of at least one rule", and is the hint where the field is missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, NamedTuple, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, Tag, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from adapter.errors import ConfigError, Finding
from adapter.yamlfile import Loc, YamlFile, nearest

Model = TypeVar("Model", bound=BaseModel)

_EXPECTED: Final = {
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
"""pydantic's type errors -> the value that was expected."""

_KINDS: Final = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", NoneType: "nothing"}


class Problem(ValueError):
    """`at` leads from the validated value to the part that is wrong; `at_key` points at the part's key."""

    def __init__(self, message: str, hint: str = "", *, at: Loc = (), at_key: bool = False) -> None:
        super().__init__(message)
        self.message, self.hint, self.at, self.at_key = message, hint, at, at_key


class Problems(ValueError):
    """Several errors that one validator found."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


def validate(
    file: YamlFile, model: type[Model], at: Loc = (), context: Any = None
) -> tuple[Model | None, list[Finding]]:
    """The file's data at a location as a model, or None and every finding. Validators get `info.context`."""
    data = file.data
    for part in at:
        data = data[part]
    try:
        return model.model_validate(data, context=context), []
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
    findings = []
    for error in errors:
        place = _place(model, error["loc"])
        for problem in _problems(error, place):
            at_key = problem.at_key or "[key]" in error["loc"]
            findings.append(file.finding((*at, *place.loc, *problem.at), problem.message, problem.hint, at_key=at_key))
    return None, findings


def validate_whole(file: YamlFile, model: type[Model], context: Any = None) -> Model:
    """A file as a model, an empty one as an empty mapping; ConfigError with every finding."""
    if file.findings:
        raise ConfigError(file.findings)
    file.data = {} if file.data is None else file.data
    result, findings = validate(file, model, context=context)
    if result is None:
        raise ConfigError(findings)
    return result


def gathered(data: Any, handler: Callable[[Any], Model], problems: Sequence[str]) -> Model:
    """What the handler of a model makes of its data; one error with all that is wrong where it or `problems` say so."""
    errors: list[InitErrorDetails] = []
    try:
        model = handler(data)
    except ValidationError as exc:
        for error in exc.errors(include_url=False):
            same = PydanticCustomError(error["type"], "{said}", {**error.get("ctx", {}), "said": error["msg"]})
            errors.append({"type": same, "loc": error["loc"], "input": error["input"]})
    else:
        if not problems:
            return model
    for problem in problems:
        error_of_ours = PydanticCustomError("value_error", "{error}", {"error": ValueError(problem)})
        errors.append({"type": error_of_ours, "input": data})
    raise ValidationError.from_exception_data("", errors)


def kind(value: object) -> str:
    """The type of a value in words, with its article."""
    if value == "":
        return "empty text"
    name = _KINDS.get(type(value), "a number")
    return name.replace("a ", "an empty ") if value in ([], {}) else name


def _problems(error: ErrorDetails, place: _Place) -> Sequence[Problem]:
    raised = error.get("ctx", {}).get("error")
    value = error["input"]
    name = str(place.loc[-1]) if place.loc else "the file"
    content = (place.field.description if place.field else "") or ""
    if isinstance(raised, Problems):
        return raised.problems
    if isinstance(raised, Problem):
        return [raised]
    if isinstance(raised, ValueError):
        return [Problem(str(raised))]
    if error["type"] == "extra_forbidden":
        known = list(_fields(place.owner))
        inside = f" in {title}" if (title := place.owner.model_config.get("title")) else ""
        hint = nearest(name, known) or f"known are {', '.join(known)}"
        return [Problem(f"unknown key {name!r}{inside}", hint, at_key=True)]
    if error["type"] == "missing":
        return [Problem(f"{name} is required", content)]
    if error["type"] == "literal_error":
        expected = error["ctx"]["expected"]
        return [Problem(f"{name} must be {expected}", nearest(str(value), re.findall(r"'([^']*)'", expected)))]
    expected = _KINDS.get(type(value), "") if error["type"] == "too_short" else _EXPECTED.get(error["type"], "")
    if expected:
        if error["type"] == "model_type" and (title := place.type.model_config.get("title")):
            name, content = title, ", ".join(_fields(place.type))
        inside = f" of {content}" if content and expected in ("a mapping", "a list") else ""
        hint = "" if inside else content
        return [Problem(f"{name} must be {expected}{inside}, not {kind(value)}", hint, at_key=value is None)]
    message = error["msg"][0].lower() + error["msg"][1:]
    return [Problem(f"{'.'.join(map(str, place.loc))}: {message}" if place.loc else message)]


class _Place(NamedTuple):
    loc: Loc  # in the file: pydantic's location without its labels
    type: Any  # of the value there, None when the model knows none
    owner: type[BaseModel]  # the innermost model that the location goes through
    field: FieldInfo | None  # of the owner, when the value is one of its fields


def _place(model: type[BaseModel], loc: Loc) -> _Place:
    """Follow pydantic's location through the model's types; "[key]" and the tags of unions are not in the file."""
    real: list[str | int] = []
    at: Any = model
    owner, field = model, None
    for part in loc:
        if part == "[key]":
            break
        at = _bare(at)
        if get_origin(at) in (Union, UnionType):
            at = next((member for member in get_args(at) if Tag(str(part)) in get_args(member)), None)
            continue
        real.append(part)
        field = None
        if isinstance(at, type) and issubclass(at, BaseModel):
            owner, field = at, _fields(at).get(str(part))
            at = field.annotation if field else None
        elif get_args(at):  # of a list or dict: the type of its values
            at = get_args(at)[-1]
    return _Place(tuple(real), _bare(at), owner, field)


def _bare(annotation: Any) -> Any:
    """A type without its metadata and without None."""
    origin, arguments = get_origin(annotation), [part for part in get_args(annotation) if part is not NoneType]
    if origin is Annotated or (origin in (Union, UnionType) and len(arguments) == 1):
        return _bare(arguments[0])
    return annotation


def _fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}
