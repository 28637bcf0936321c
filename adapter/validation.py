"""Turns pydantic's errors about a YAML file into findings with file, line and column.

Every file that people edit (adapter.yml, web config, mappings, mapping tests) is validated by pydantic models, and a
validator reports a mistake by raising ValueError with the message that the person reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from adapter.errors import Finding
from adapter.yamlfile import Loc, YamlFile, nearest


def findings_of(file: YamlFile, exc: ValidationError, model: type[BaseModel]) -> list[Finding]:
    """Every error of validating `file.data` against `model`, at its place in the file."""
    return list(_findings(file, exc, model))


def _findings(file: YamlFile, exc: ValidationError, model: type[BaseModel]) -> Iterator[Finding]:
    for error in exc.errors(include_url=False, include_input=False):
        loc = _real(file.data, error["loc"])
        if error["type"] == "extra_forbidden":
            known = _keys(model, error["loc"][:-1])
            yield file.finding(loc, f"unknown key {error['loc'][-1]!r}", nearest(str(loc[-1]), known), at_key=True)
        elif error["type"] == "missing":
            yield file.finding(loc, f"{error['loc'][-1]} is required")
        elif isinstance(error.get("ctx", {}).get("error"), ValueError):
            yield file.finding(loc, str(error["ctx"]["error"]))
        else:
            message = error["msg"][0].lower() + error["msg"][1:]
            yield file.finding(loc, f"{'.'.join(map(str, loc))}: {message}" if loc else message)


def _real(data: Any, loc: Loc) -> Loc:
    """pydantic's location without the union tags that the file does not have."""
    real: list[str | int] = []
    for part in loc:
        inside = isinstance(data, dict) and part in data
        if inside or part == loc[-1]:
            real.append(part)
            data = data[part] if inside else None
    return tuple(real)


def _keys(model: type[BaseModel], loc: Loc) -> list[str]:
    """The keys known at a location of the model."""
    for part in loc:
        annotation = model.model_fields[str(part)].annotation if part in model.model_fields else None
        for candidate in (annotation, *_inner(annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
    return list(model.model_fields)


def _inner(annotation: Any) -> Iterator[Any]:
    for argument in get_args(annotation):
        yield argument
        yield from _inner(argument)
