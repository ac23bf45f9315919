"""The prompt of scripts/sql: history, completion, statements over several lines."""

import asyncio
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory

from app.sql.cli.session import VIEWS
from app.sql.cli.shell import Shell, say
from app.store.snapshot import Snapshot

_LEAVING = frozenset({"exit", "quit", r"\q", ".exit", ".quit"})
_MORE = "  ... "


async def converse(shell: Shell, snapshot: Snapshot, history: Path) -> None:
    """Ask and answer until the person leaves."""
    say(greeting(snapshot))
    await asyncio.to_thread(history.touch, mode=0o600)
    prompt: PromptSession[str] = PromptSession(
        "sql> ",
        history=FileHistory(str(history)),
        completer=WordCompleter(await shell.session.complete_words(), ignore_case=True),
        complete_while_typing=False,
        auto_suggest=AutoSuggestFromHistory(),
        multiline=Condition(lambda: not is_whole(get_app().current_buffer.text)),
        prompt_continuation=_MORE,
    )
    while True:
        try:
            text = (await prompt.prompt_async()).strip()
        except KeyboardInterrupt:
            continue  # drops what was typed
        except EOFError:
            return
        if text.rstrip(";").lower() in _LEAVING:
            return
        if text.strip(";"):
            await shell.answer(text)


def is_whole(text: str) -> bool:
    """Whether Enter runs it: it ends in a semicolon, or asks for nothing, or to leave."""
    stripped = text.strip()
    return not stripped or stripped.endswith(";") or stripped.lower() in _LEAVING


def greeting(snapshot: Snapshot) -> str:
    """What is being asked, and how."""
    manifest = snapshot.manifest
    return (
        f"{manifest.source}, built {manifest.built_at:%Y-%m-%d %H:%M %Z}, {snapshot.n_matches} matches.\n"
        f"Tables: {', '.join(VIEWS)}. A statement ends with ; and runs at Enter. "
        "Tab completes, Ctrl-C interrupts, Ctrl-D leaves."
    )
