"""The revisions in this image, read from the files of the two histories without importing them."""

import ast
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inventory_api.migrations.required import REQUIRED_CONTRACT
from inventory_api.migrations.rule import ImageSchema

History = Literal["expand", "contract"]
HISTORIES: tuple[History, ...] = ("expand", "contract")
MIGRATIONS = Path(__file__).parent

_IDENTIFIER: Mapping[History, re.Pattern[str]] = {
    "expand": re.compile(r"\d{4}"),
    "contract": re.compile(r"c\d{4}"),
}


class BrokenHistoryError(Exception):
    """The files of a history do not form one line."""


@dataclass(frozen=True)
class Revision:
    """One migration file.

    `checksum` is the SHA-256 of its bytes, `summary` the first line of what it says of itself. `requires_expand` and
    `lossless_downgrade` only say something about a contract migration. `running_code_is_unharmed` says of an expand
    migration, and of the downgrade of a contract migration, why what looks dangerous is not.
    """

    identifier: str
    history: History
    down: str | None
    path: Path
    checksum: str
    requires_expand: str | None = None
    lossless_downgrade: bool = False
    running_code_is_unharmed: str = ""
    summary: str = ""


@dataclass(frozen=True)
class Image:
    """All that an image knows about the schema, oldest revision first."""

    expand: tuple[Revision, ...]
    contract: tuple[Revision, ...]
    required_contract: tuple[str, ...] = ()

    @property
    def schema(self) -> ImageSchema:
        return ImageSchema(identifiers(self.expand), identifiers(self.contract), self.required_contract)

    def history(self, history: History) -> tuple[Revision, ...]:
        return self.expand if history == "expand" else self.contract


def identifiers(revisions: Iterable[Revision]) -> tuple[str, ...]:
    return tuple(revision.identifier for revision in revisions)


def read_image(migrations: Path = MIGRATIONS, required: tuple[str, ...] = REQUIRED_CONTRACT) -> Image:
    """The image's facts.

    Raises BrokenHistoryError when a history isn't one line of well-named revisions.
    """
    expand, contract = (_read_history(migrations, history) for history in HISTORIES)
    unknown = [identifier for identifier in required if identifier not in identifiers(contract)]
    if unknown:
        raise BrokenHistoryError(f"required.py names {', '.join(unknown)}, which is no contract migration here")
    return Image(expand, contract, required)


def versions_folder(history: History, migrations: Path = MIGRATIONS) -> Path:
    return migrations / history / "versions"


def _read_history(migrations: Path, history: History) -> tuple[Revision, ...]:
    files = sorted(versions_folder(history, migrations).glob("*.py"))
    revisions = [_read_revision(path, history) for path in files if path.name != "__init__.py"]
    return _in_line(history, revisions)


def _read_revision(path: Path, history: History) -> Revision:
    source = path.read_bytes()
    module = _module(source, path)
    attributes = _module_attributes(module)
    identifier = attributes.get("revision")
    if not isinstance(identifier, str) or not _IDENTIFIER[history].fullmatch(identifier):
        raise BrokenHistoryError(f"{path.name}: revision {identifier!r} does not name one of the {history} migrations")
    if not path.name.startswith(f"{identifier}_"):
        raise BrokenHistoryError(f"{path.name}: the file of revision {identifier} must be named {identifier}_….py")
    if attributes.get("depends_on") is not None:
        raise BrokenHistoryError(f"{path.name}: depends_on would merge the two histories in Alembic's tables")
    requires = attributes.get("requires_expand")
    if history == "contract" and not isinstance(requires, str):
        raise BrokenHistoryError(f"{path.name}: a contract migration names the expand it needs as requires_expand")
    lossless = attributes.get("lossless_downgrade") is True
    if lossless and not _has_downgrade(module):
        raise BrokenHistoryError(f"{path.name}: lossless_downgrade is True, and its downgrade() brings nothing back")
    down = attributes.get("down_revision")
    unharmed = attributes.get("running_code_is_unharmed")
    return Revision(
        identifier=identifier,
        history=history,
        down=down if isinstance(down, str) else None,
        path=path,
        checksum=hashlib.sha256(source).hexdigest(),
        requires_expand=requires if isinstance(requires, str) else None,
        lossless_downgrade=lossless,
        running_code_is_unharmed=unharmed if isinstance(unharmed, str) else "",
        summary=(ast.get_docstring(module) or "").partition("\n")[0],
    )


def _module(source: bytes, path: Path) -> ast.Module:
    try:
        return ast.parse(source, filename=str(path))
    except SyntaxError as error:
        raise BrokenHistoryError(f"{path.name} is not valid Python: {error}") from error


def _has_downgrade(module: ast.Module) -> bool:
    """Whether there is a `downgrade()` that does anything; whether it does the right thing is for the tests to say."""
    functions = [each for each in module.body if isinstance(each, ast.FunctionDef) and each.name == "downgrade"]
    return any(not _does_nothing(statement) for function in functions for statement in function.body)


def _does_nothing(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Raise() | ast.Return() | ast.Expr(value=ast.Constant()):
            return True
    return False


def _module_attributes(module: ast.Module) -> dict[str, object]:
    attributes: dict[str, object] = {}
    for statement in module.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                attributes[name] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=value)):
                attributes[name] = value
    return attributes


def _in_line(history: History, revisions: list[Revision]) -> tuple[Revision, ...]:
    successors: dict[str | None, Revision] = {}
    for revision in revisions:
        if revision.down in successors:
            other = successors[revision.down].identifier
            raise BrokenHistoryError(f"{history}: {other} and {revision.identifier} both follow {revision.down}")
        successors[revision.down] = revision
    line: list[Revision] = []
    while (following := successors.pop(line[-1].identifier if line else None, None)) is not None:
        line.append(following)
    if successors:
        astray = ", ".join(sorted(revision.identifier for revision in successors.values()))
        raise BrokenHistoryError(f"{history}: {astray} not reachable from the first revision")
    return tuple(line)
