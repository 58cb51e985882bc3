"""Categories and locations by their paths: found, created where they are missing, and imported themselves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from inventory_api.audit import service as audit
from inventory_api.audit.service import Change
from inventory_api.categories.schemas import CategoryCreate
from inventory_api.fields import MAX_ID
from inventory_api.locations.models import Location
from inventory_api.locations.schemas import LocationCreate
from inventory_api.references import read_reference
from inventory_api.transfer import repository
from inventory_api.transfer.batch import Importer, Line, LineErrors, RowBase, Seen
from inventory_api.transfer.columns import TEXT, columns_of, line_errors
from inventory_api.transfer.formats import LineError
from inventory_api.transfer.paths import Path, join_path, split_path
from inventory_api.transfer.repository import Found
from inventory_api.transfer.schemas import ImportQuery, Mode
from inventory_api.trees import repository as trees
from inventory_api.users.permissions import Principal

_ROOT = 0
# Stands for the id of what will be created.
TO_COME = MAX_ID
_MAX_BARCODE = 100


class Tree:
    """Categories or locations, as far as they were asked for."""

    def __init__(self, session: AsyncSession, caller: Principal, place: repository.Place, *, create: bool) -> None:
        self._session = session
        self._caller = caller
        self._place = place
        self._create = create
        self._known: dict[Path, Found | None] = {}
        self.missing: set[Path] = set()
        """What `create` is going to create."""
        self.created: set[Path] = set()

    async def learn(self, paths: Iterable[Path]) -> None:
        """Looks these and all above them up, one level after the other."""
        new = {path[:depth] for path in paths for depth in range(1, len(path) + 1)} - self._known.keys()
        for level in _levels(new):
            wanted = {path: (parent, path[-1]) for path in level if (parent := self._id(path[:-1])) is not None}
            found = await repository.children(self._session, self._place, wanted.values()) if wanted else {}
            self._known.update({path: found.get(wanted[path]) if path in wanted else None for path in level})

    def find(self, path: Path) -> Found | None:
        return self._known[path]

    def want(self, path: Path) -> int:
        """The id that this place has or will have.

        Raises ValueError where there is none and none may be created, and where it is archived.
        """
        found = self._known[path]
        if found is None and not self._create:
            raise ValueError(f"There is no {_called(self._place)} {_short(path)}; create_missing=true creates it")
        if found is None:
            self.add(path)
            return TO_COME
        if found.archived:
            raise ValueError(f"The {_called(self._place)} {_short(path)} is archived")
        return found.id

    def add(self, path: Path) -> None:
        """It and all above it will be there after `create`. Raises ValueError where one above it is archived."""
        above = [path[:depth] for depth in range(1, len(path) + 1)]
        for each in above:
            if (found := self._known[each]) and found.archived:
                raise ValueError(f"The {_called(self._place)} {_short(each)} is archived")
        self.missing.update(each for each in above if self._known[each] is None)

    async def create(self) -> None:
        """Creates what is missing, and forgets the rest, which is looked up anew.

        Nobody moves or archives anything in the tree from here on, if anything is missing, so nothing is put below what
        isn't there any more.
        """
        self._known.clear()
        if not self.missing:
            return
        await trees.hold(self._session, self._place)
        await self.learn(self.missing)
        for level in _levels(path for path in self.missing if self._known[path] is None):
            wanted = {path: (self._id(path[:-1]) or _ROOT, path[-1]) for path in level}
            added = await repository.add_children(self._session, self._place, wanted.values())
            made: list[Change] = [
                (place_id, None, {"name": name, "parent_id": parent or None})
                for (parent, name), place_id in added.items()
            ]
            await audit.record_many(self._session, self._caller, "create", _called(self._place), made)
            # Some may be there by the doing of an old release, which holds no tree.
            found = await repository.children(self._session, self._place, wanted.values())
            self._known.update({path: found.get(key) for path, key in wanted.items()})
            self.created.update(path for path, key in wanted.items() if key in added)

    def _id(self, path: Path) -> int | None:
        if not path:
            return _ROOT
        found = self._known[path]
        return found.id if found else None


class LocationNames:
    """Locations as a line names them: by path, by barcode, by `inv:location:12`, or in JSON by the id."""

    def __init__(self, session: AsyncSession, caller: Principal, *, create: bool) -> None:
        self._session = session
        self.tree = Tree(session, caller, Location, create=create)
        self._by_barcode: dict[str, Found] = {}
        self._by_id: dict[int, Found] = {}
        self._learned: set[str | int] = set()
        self._used: set[int] = set()

    async def keep(self) -> None:
        """Keeps what was asked for in use, and looks it up anew."""
        if self._used:
            await repository.keep_locations(self._session, self._used)
        for known in (self._by_barcode, self._by_id, self._learned):
            known.clear()

    async def learn(self, names: Iterable[Any]) -> None:
        """Looks up those that haven't been yet; most lines name few locations."""
        new = {name for name in names if isinstance(name, str) or _is_id(name)} - self._learned
        self._learned |= new
        texts = {name.strip() for name in new if isinstance(name, str)}
        ids = {name for name in new if not isinstance(name, str)} | {
            found[1] for text in texts if (found := read_reference(text)) and found[0] == "location"
        }
        await self.tree.learn(path for text in texts if (path := path_or_none(text)))
        barcodes = {text for text in texts if 0 < len(text) <= _MAX_BARCODE and "\0" not in text}
        if barcodes:
            self._by_barcode |= await repository.locations_by_barcode(self._session, barcodes)
        if ids:
            self._by_id |= await repository.locations_by_id(self._session, ids)

    def want(self, name: Any) -> int:
        """The id that this location has or will have. Raises ValueError where there is none, or it is archived."""
        location_id = self._want(name)
        self._used.add(location_id)
        return location_id

    def _want(self, name: Any) -> int:
        if _is_id(name):
            return _in_use(self._by_id.get(name), f"with the id {name}")
        if not isinstance(name, str):
            raise ValueError("must be a path, a barcode or an id")
        text = name.strip()
        named = read_reference(text)
        if named and named[0] == "location":
            return _in_use(self._by_id.get(named[1]), text)
        path = split_path(text)
        if self.tree.find(path) is None and text in self._by_barcode:
            return _in_use(self._by_barcode[text], text)
        return self.tree.want(path)


@dataclass(frozen=True)
class PlaceRow(RowBase):
    path: Path
    before: Mapping[str, Any]
    values: dict[str, Any]


class PlaceImport(Importer):
    """A line is a category or a location, whose path brings those above it along."""

    def __init__(self, session: AsyncSession, wanted: ImportQuery, caller: Principal, place: repository.Place) -> None:
        self._session = session
        self._caller = caller
        self._wanted = wanted
        self._place = place
        self._schema = LocationCreate if place is Location else CategoryCreate
        self._names = [name for name in self._schema.model_fields if name not in ("name", "parent_id")]
        self._tree = Tree(session, caller, place, create=True)
        self._seen, self._barcodes = Seen(), Seen()
        self._new: set[Path] = set()
        self.columns = {"path": TEXT, **columns_of(self._schema, "name", "parent_id")}

    @property
    def categories_missing(self) -> int:
        return 0 if self._place is Location else len(self._tree.missing - self._new)

    @property
    def locations_missing(self) -> int:
        return len(self._tree.missing - self._new) if self._place is Location else 0

    async def understand(self, batch: Sequence[Line], errors: LineErrors) -> Sequence[PlaceRow]:
        paths = {line.number: path_or_none(line.values.get("path")) for line in batch}
        await self._tree.learn(path for path in paths.values() if path)
        barcodes = {barcode for line in batch if (barcode := line.text("barcode", _MAX_BARCODE))}
        taken = await repository.barcodes_taken(self._session, Location, barcodes) if barcodes else {}
        rows = (self._understood(line, taken, errors) for line in batch)
        return [row for row in rows if row is not None]

    async def prepare(self) -> None:
        await self._tree.create()

    async def write(self, rows: Sequence[PlaceRow]) -> None:
        """They are all there since `prepare`; what else is known of a location is not."""
        changed = [row for row in rows if row.changed and row.values]
        if changed:
            ids = [found.id for row in changed if (found := self._tree.find(row.path))]
            given = [{"id": place_id, **row.values} for place_id, row in zip(ids, changed, strict=True)]
            await repository.change_locations(self._session, given)
            changes: list[Change] = [(at, row.before, row.values) for at, row in zip(ids, changed, strict=True)]
            await audit.record_many(self._session, self._caller, "change", "location", changes)

    def _understood(self, line: Line, taken: Mapping[str, int], errors: LineErrors) -> PlaceRow | None:
        try:
            path = read_path(line.values.get("path"))
        except ValueError as error:
            errors.add(LineError(line.number, "path", str(error)))
            return None
        found = self._tree.find(path)
        ours = path in self._tree.created
        problems = self._problems(line, path, None if ours else found, taken)
        if found is None:
            try:
                self._tree.add(path)
            except ValueError as error:
                problems.append(LineError(line.number, "path", str(error)))
        before = found.values if found else dict.fromkeys(self._names)
        given = {name: value for name, value in line.values.items() if name != "path"}
        try:
            place = self._schema.model_validate({"name": path[-1], **before, **given})
        except ValidationError as error:
            problems += line_errors(line.number, error, {"name": "path"})
        if problems:
            errors.add(*problems)
            return None
        values = place.model_dump(include=set(self._names))
        if found is None:
            self._new.add(path)
        return PlaceRow(
            created=found is None or ours, changed=values != before, path=path, before=before, values=values
        )

    def _problems(self, line: Line, path: Path, found: Found | None, taken: Mapping[str, int]) -> list[LineError]:
        problems = []
        if first := self._seen.again(path, line.number):
            problems.append(LineError(line.number, "path", f"is in line {first} already"))
        if found and self._wanted.mode is Mode.CREATE:
            problems.append(LineError(line.number, "path", "is there already; mode=upsert changes it"))
        if found and found.archived:
            problems.append(LineError(line.number, "path", "is archived"))
        place = self._tree.find(path)
        barcode = line.text("barcode", _MAX_BARCODE)
        problems += barcode_problems(line, barcode, taken, place.id if place else None, self._barcodes)
        return problems


def barcode_problems(
    line: Line, barcode: str | None, taken: Mapping[str, int], owner: int | None, seen: Seen
) -> list[LineError]:
    """What is wrong with giving this barcode to the owner, who may not be there yet."""
    if barcode is None:
        return []
    if first := seen.again(barcode, line.number):
        return [LineError(line.number, "barcode", f"is in line {first} already")]
    if taken.get(barcode, owner) != owner:
        return [LineError(line.number, "barcode", "is another one's already")]
    return []


def _levels(paths: Iterable[Path]) -> list[list[Path]]:
    """The paths by their depth, the roots first."""
    levels: dict[int, list[Path]] = {}
    for path in paths:
        levels.setdefault(len(path), []).append(path)
    return [levels[depth] for depth in sorted(levels)]


def read_path(given: Any) -> Path:
    """Raises ValueError where it is none."""
    if given is None:
        raise ValueError("Field required")
    if not isinstance(given, str):
        raise ValueError("must be a path")
    return split_path(given)


def path_or_none(given: Any) -> Path | None:
    try:
        return read_path(given)
    except ValueError:
        return None


def _is_id(name: Any) -> bool:
    return isinstance(name, int) and not isinstance(name, bool) and 0 < name <= MAX_ID


def _in_use(found: Found | None, called: str) -> int:
    if found is None:
        raise ValueError(f"There is no location {called}")
    if found.archived:
        raise ValueError(f"The location {called} is archived")
    return found.id


def _called(place: repository.Place) -> str:
    return "location" if place is Location else "category"


def _short(path: Path) -> str:
    text = join_path(path)
    return text if len(text) <= 100 else f"{text[:99]}…"
