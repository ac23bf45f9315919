"""Messages of one session to its browser: in order, together, and under the document's lock."""

from typing import Any

from bokeh.document import Document
from panel.custom import ReactiveESM
from panel.io.state import state
from panel.models.esm import ESMEvent


class Outbox:
    """Takes the place of Panel's own sending, which loses messages.

    Panel 1.9.4 writes past the document's lock. A message that comes while an earlier one is still being written waits
    in `_WRITE_MSGS`; the end of that writing takes away `_WRITE_BLOCK`, without which `_dispatch_msgs` returns and the
    message stays until another one is sent. Bokeh's own way, in a callback that holds the lock, has no such gap.
    """

    def __init__(self, component: ReactiveESM) -> None:
        self._component = component
        self._waiting: list[Any] = []

    @property
    def is_open(self) -> bool:
        """Whether somebody can get a message."""
        return self._document() is not None

    def put(self, message: Any) -> None:
        """Send with the next tick of the session; what comes before it goes along in one piece."""
        document = self._document()
        if document is None:
            return
        self._waiting.append(message)
        if len(self._waiting) == 1:
            document.add_next_tick_callback(self._flush)

    def _flush(self) -> None:
        messages, self._waiting = self._waiting, []
        for model in self._models():
            model.document.callbacks.send_event(ESMEvent(model=model, data=messages))

    def _document(self) -> Document | None:
        """The session's document; None once the session is over."""
        for model in self._models():
            context = model.document and model.document.session_context
            if context is not None and not context.destroyed:
                return model.document
        return None

    def _models(self) -> list[Any]:
        shown = {ref: model for ref, (model, _) in self._component._models.items()}
        return [model for ref, model in shown.items() if ref in state._views and ref not in state._fake_roots]
