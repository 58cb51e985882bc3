"""A secret that comes from a file: the setting's name with _FILE at its end, as Docker and Compose hand secrets over.

A file is neither shown by `docker inspect` nor inherited by child processes, as the environment is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

_SUFFIX = "_FILE"
_MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class UnusableFile:
    """What stands in the place of a value that could not be had; a setting that gets it refuses it with these words."""

    why: str


class SecretFiles(PydanticBaseSettingsSource):
    """The secrets of these settings that the variables name a file for."""

    def __init__(self, settings: type[BaseSettings], variables: Mapping[str, str]) -> None:
        super().__init__(settings)
        self._variables = variables
        self._prefix = str(self.config.get("env_prefix", "")).upper()

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = f"{self._prefix}{field_name.upper()}"
        path = self._variables.get(name + _SUFFIX)
        if not path:
            return None, field_name, False
        if self._variables.get(name):
            return UnusableFile(f"has a value, and {name}{_SUFFIX} names a file too: leave one out"), field_name, False
        return _content(name + _SUFFIX, Path(path)), field_name, False

    def __call__(self) -> dict[str, Any]:
        fields = self.settings_cls.model_fields
        secrets = {name: field for name, field in fields.items() if is_secret(field.annotation)}
        found = {name: self.get_field_value(field, name)[0] for name, field in secrets.items()}
        return {name: value for name, value in found.items() if value is not None}


def is_secret(annotation: Any) -> bool:
    """Whether a setting of this type is one, also where it may be left out."""
    return annotation is SecretStr or any(is_secret(part) for part in get_args(annotation))


def _content(variable: str, path: Path) -> str | UnusableFile:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            return UnusableFile(f"{variable} names {path}, which is larger than {_MAX_BYTES} bytes")
        text = content.decode().strip()
    except OSError as error:
        return UnusableFile(f"{variable} names {path}, which cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return UnusableFile(f"{variable} names {path}, which is not text in UTF-8")
    return text or UnusableFile(f"{variable} names {path}, which is empty")
