"""Watches what a page does in the browser."""

from dataclasses import dataclass, field
from typing import Any

from playwright.async_api import Page


@dataclass
class Watch:
    """What a page did that it should not do."""

    origin: str
    errors: list[str] = field(default_factory=list)
    strangers: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        """Begin to watch."""
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("request", lambda request: self._see(request.url))
        page.on("websocket", lambda socket: self._see(socket.url.replace("ws://", "http://")))
        page.on("dialog", self._dismiss)

    async def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        await dialog.dismiss()

    def _see(self, url: str) -> None:
        if not url.startswith((self.origin, f"blob:{self.origin}", "data:")):
            self.strangers.append(url)

    def verdict(self) -> dict[str, list[str]]:
        """Everything that was seen, by kind; empty when all was well."""
        seen = {"errors": self.errors, "strangers": self.strangers, "dialogs": self.dialogs}
        return {kind: found for kind, found in seen.items() if found}
