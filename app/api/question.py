"""What one request asks of the artifacts, in the words that its answer is kept under."""

from collections.abc import Hashable
from dataclasses import dataclass

from aiohttp import web
from pydantic import BaseModel

from app.api.negotiation import codings_of, form_of
from app.schemas import ListQuery
from app.store.coding import Coding
from app.store.forms import Form

MAY_CHANGE = "no-cache"  # may be kept, must be asked for again: a 304 is cheap
NEVER_CHANGES = "public, max-age=31536000, immutable"  # what was known at a time stays what it was
NEVER_CHANGES_FOR_YOU = NEVER_CHANGES.replace("public", "private")
_TYPES = {Form.CSV: "text/csv; charset=utf-8"}


@dataclass(frozen=True, slots=True)
class Question:
    """Path, query in canonical words, form, and the codings that the client takes, best first."""

    path: str
    query: str
    form: Form
    codings: tuple[Coding, ...]
    file_name: str | None
    cache_control: str

    def headers(self) -> dict[str, str]:
        """What every answer to it says."""
        headers = {
            "Content-Type": _TYPES.get(self.form, self.form.value),
            "Cache-Control": self.cache_control,
            "Vary": "Accept, Accept-Encoding",
        }
        if self.file_name:
            headers["Content-Disposition"] = f'attachment; filename="{self.file_name}"'
        return headers


def question_of(request: web.Request, query: BaseModel | None, forms: tuple[Form, ...], cache_control: str) -> Question:
    """Read the request; 406 when no form will do."""
    asked = query.format if isinstance(query, ListQuery) else None
    form = Form[asked.name] if asked else form_of(request.headers.get("Accept") or "*/*", forms)
    # Parquet is compressed in itself
    takes = request.headers.get("Accept-Encoding", "") if form is not Form.PARQUET else ""
    return Question(
        path=request.path,
        query=query.model_dump_json() if query else "",
        form=form,
        codings=codings_of(takes),
        file_name=f"touchline-{request.path.strip('/').rpartition('/')[2]}.{asked.value}" if asked else None,
        cache_control=cache_control,
    )


def words_of(request: web.Request, *, is_stale: bool) -> Hashable:
    """The request as it was written, as far as the answer depends on it."""
    headers = request.headers
    return request.raw_path, headers.get("Accept"), headers.get("Accept-Encoding"), is_stale
