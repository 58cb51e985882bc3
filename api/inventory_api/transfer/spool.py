"""A body, kept until all of it is there: nothing in the database waits for a slow caller."""

import hashlib
import zlib
from collections.abc import Iterator

_CHUNK_BYTES = 64 * 1024
# The quickest level: it makes a fifth of a table all the same.
_LEVEL = 1


class TooLargeError(Exception):
    """More bytes came than may."""


class Spool:
    """Keeps bytes compressed, in memory: a pod has no disk of its own that is sure to be there."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._compressor = zlib.compressobj(_LEVEL)
        self._parts: list[bytes] = []
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, chunk: bytes) -> None:
        """Raises TooLargeError when these bytes are more than may come."""
        self.size += len(chunk)
        if self.size > self._limit:
            raise TooLargeError
        self._digest.update(chunk)
        self._keep(self._compressor.compress(chunk))

    def end(self) -> None:
        self._keep(self._compressor.flush())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def chunks(self) -> Iterator[bytes]:
        """All that came, a little at a time, and as often as it is asked for."""
        decompressor = zlib.decompressobj()
        for part in self._parts:
            rest = part
            while rest:
                yield decompressor.decompress(rest, _CHUNK_BYTES)
                rest = decompressor.unconsumed_tail
        yield decompressor.flush()

    def _keep(self, part: bytes) -> None:
        if part:
            self._parts.append(part)
