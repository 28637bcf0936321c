"""Durations, sizes, paths and secrets of adapter.yml, and what its models have in common."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ModelWrapValidatorHandler,
    ValidationInfo,
    model_validator,
)

from adapter.clock import SECOND, Micros
from adapter.coc.endpoint import EndpointProblem, proxy_of
from adapter.secret import Secret
from adapter.units import seconds, size
from adapter.validation import Problem, gathered

_SECRETS: Final = frozenset(
    {
        "integration_key", "access_key", "secret_key", "security_token", "token", "bearer_token", "proxy_url", "store",
        "password", "credentials", "headers",
    }
)  # fmt: skip
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True)
class Source:
    """The file and what was found in it; the validators get it beside the data."""

    path: Path  # of adapter.yml
    shown: Mapping[str, Any]  # the file's data with secrets masked
    compared: Mapping[str, Any]  # the same with digests of secrets, to see whether one has changed
    without_secrets: bool = False  # files that hold secrets are not read
    secrets: list[Secret] = field(default_factory=list)  # every secret found, to keep them out of the logs

    def keep(self, secret: Secret) -> Secret:
        self.secrets.append(secret)
        return secret

    def file(self, name: object) -> Path:
        return self.path.parent / str(name)


def _secret(value: Any, info: ValidationInfo[Source]) -> Secret | None:
    if isinstance(value, dict | list | bool):
        raise ValueError(f"{info.field_name} must be text")
    return info.context.keep(Secret(value=str(value))) if value else None


def _secret_file(value: Any, info: ValidationInfo[Source]) -> Secret | None:
    if not value or info.context.without_secrets:
        return None
    try:
        return info.context.keep(Secret(path=info.context.file(value)))
    except ValueError as exc:  # without the path, which may be the secret itself by mistake
        raise ValueError(f"{info.field_name} {exc}") from None


def _proxy(url: Secret | None) -> Secret | None:
    try:
        proxy_of(url.get() if url else "")
    except EndpointProblem as exc:
        raise ValueError(str(exc)) from None
    return url


def path_that(
    exists: Callable[[Path], bool], otherwise: str, default: Callable[[], Path | None] = lambda: None
) -> BeforeValidator:
    """A path from the folder of adapter.yml; the default where none is named. `otherwise` has {name} or {path}."""

    def checked(value: Any, info: ValidationInfo[Source]) -> Path | None:
        path = info.context.file(value) if value else default()
        try:
            missing = value and path and not exists(path)
        except OSError as exc:  # a folder above it may not be entered, or the name is too long
            raise ValueError(f"{info.field_name} cannot be read: {exc.strerror}") from exc
        if missing:
            raise ValueError(otherwise.format(name=info.field_name, path=path))
        return path

    return BeforeValidator(checked)


def to_micros(duration: float) -> Micros:
    return round(duration * SECOND)


Duration = Annotated[float, BeforeValidator(seconds)]
Size = Annotated[int, BeforeValidator(size)]
InlineSecret = Annotated[Secret | None, BeforeValidator(_secret)]
SecretFile = Annotated[Secret | None, BeforeValidator(_secret_file)]
InlineProxy = Annotated[InlineSecret, AfterValidator(_proxy)]
ProxyFile = Annotated[SecretFile, AfterValidator(_proxy)]
# Without the path, which may be the key itself by mistake.
ExistingFile = Annotated[Path | None, path_that(Path.is_file, "{name} names no file that exists")]


class Model(BaseModel):
    needs: ClassVar[tuple[str, str] | None] = None  # a secret, and what is wrong without it and its file

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True, arbitrary_types_allowed=True)

    @model_validator(mode="wrap")
    @classmethod
    def _everything(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Reports what is wrong between the keys beside what is wrong with each."""
        return gathered(data, handler, list(cls.problems(data)) if isinstance(data, dict) else [])

    @classmethod
    def problems(cls, data: Mapping[str, Any]) -> Iterator[str]:
        """What is wrong between the keys, which may be wrong themselves."""
        for name in cls.model_fields:
            file = f"{name}_file"
            if data.get(name) and data.get(file) and file in cls.model_fields:
                yield f"{name} and {file} are both set; keep one of them"
        if cls.needs and not given(data, cls.needs[0]):
            yield cls.needs[1]

    def secret(self, name: str) -> Secret | None:
        """The secret given as `name` or `name`_file."""
        secret: Secret | None = getattr(self, f"{name}_file") or getattr(self, name)
        return secret


def given(data: Mapping[str, Any], secret: str) -> bool:
    return bool(data.get(secret) or data.get(f"{secret}_file"))


class TlsConfig(Model):
    ca_file: ExistingFile = None
    cert_file: ExistingFile = None
    key_file: ExistingFile = None
    server_name: str = ""


def path_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Problem("the name cannot be part of a URL path", "letters, digits, '.', '_' and '-', at most 64")
    return name


def masked(data: Any, mask: Callable[[object], str]) -> Any:
    if isinstance(data, dict):
        return {key: mask(value) if key in _SECRETS and value else masked(value, mask) for key, value in data.items()}
    if isinstance(data, list):
        return [masked(item, mask) for item in data]
    return data


def digest(secret: object) -> str:
    return hashlib.blake2b(str(secret).encode()).hexdigest()
