"""Answers rendered once per snapshot and query, kept as bytes."""

from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from app.store.compression import Coding
from app.store.lru import SingleFlight

LARGEST_BYTES = 8 * 2**20  # a larger answer is streamed and not kept
_ALL_BYTES = 64 * 2**20
_ALL_TAGS = 20_000  # some hundred bytes each


@dataclass(slots=True)
class CachedResponse:
    """A rendered answer: its tag, the headers that it goes out with, and its bytes, plain and compressed.

    The bytes may be gone while the tag is still known; of a `large` answer there are none.
    """

    tag: str
    headers: Mapping[str, str]
    body: bytes | None = None
    is_large: bool = False
    coded: dict[Coding, bytes] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """What it takes to keep."""
        return len(self.body or b"") + sum(map(len, self.coded.values()))


class ResponseCache:
    """A bounded cache of answers; of the least lately asked the bytes go first and the tag much later.

    `hits` and `misses` count since the snapshot was opened: asked for bytes that were there, or were not.
    """

    def __init__(self, limit_bytes: int = _ALL_BYTES, limit_tags: int = _ALL_TAGS) -> None:
        self.hits = 0
        self.misses = 0
        self.size_bytes = 0
        self.in_flight = SingleFlight()
        self._limit_bytes = limit_bytes
        self._limit_tags = limit_tags
        self._answers: OrderedDict[Hashable, CachedResponse] = OrderedDict()
        self._with_bytes: OrderedDict[Hashable, int] = OrderedDict()
        self._raw_keys: dict[Hashable, tuple[Hashable, tuple[Coding, ...]]] = {}

    def get(self, key: Hashable) -> CachedResponse | None:
        """Return the answer of that key, if it is known."""
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
            if answer.body is not None:
                self._with_bytes.move_to_end(key)
        return answer

    def put(self, key: Hashable, answer: CachedResponse) -> None:
        """Put an answer in the place of what was known of it; and again when a coding has been added to it."""
        self._answers[key] = answer
        self._answers.move_to_end(key)
        self.size_bytes += answer.size_bytes - self._with_bytes.pop(key, 0)
        if answer.body is not None:
            self._with_bytes[key] = answer.size_bytes
        while self.size_bytes > self._limit_bytes:
            self._drop_bytes(next(iter(self._with_bytes)))
        while len(self._answers) > self._limit_tags:
            oldest = next(iter(self._answers))
            self._drop_bytes(oldest)
            del self._answers[oldest]

    def index_raw_key(self, raw_key: Hashable, key: Hashable, codings: tuple[Coding, ...]) -> None:
        """Remember the key of a request as it was written, and which codings it takes."""
        if len(self._raw_keys) >= self._limit_tags:
            self._raw_keys.clear()
        self._raw_keys[raw_key] = key, codings

    def get_by_raw_key(self, raw_key: Hashable) -> tuple[CachedResponse, tuple[Coding, ...]] | None:
        """Return the answer to a request in those words, if it is known, and the codings that it takes."""
        key, codings = self._raw_keys.get(raw_key, (None, ()))
        answer = self.get(key) if key is not None else None
        return (answer, codings) if answer is not None else None

    def _drop_bytes(self, key: Hashable) -> None:
        size_bytes = self._with_bytes.pop(key, None)
        if size_bytes is not None:
            self.size_bytes -= size_bytes
            answer = self._answers[key]
            # whoever is sending the old one goes on with it
            self._answers[key] = CachedResponse(answer.tag, answer.headers)
