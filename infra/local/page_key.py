"""The match page's own API key on this machine, made once the API asks for keys."""

from app.auth import keys as auth_keys
from app.auth.keyring import load_keys
from app.auth.keys import Scope, hash_key
from app.settings import Settings
from infra.local.children import LocalError
from infra.local.home import Home
from infra.local.secret import secret

PREFIX = "matchpage"
SCOPES = frozenset({Scope.READ, Scope.PREDICT, Scope.MONITOR})  # the last for the drift report


def page_key(settings: Settings, home: Home) -> str | None:
    """The key, entered among the others; None while there are no others, or the environment gives one."""
    here = settings.model_copy(update={"touchline_home": home.root})
    try:
        if settings.api_key is not None or not load_keys(here.keys):
            return None
        text = f"{PREFIX}.{secret(home.root / 'page-key')}"
        with auth_keys.edit_keys(here.keys.file) as keys:
            others = [key for key in keys if key.prefix != PREFIX]
            mine = next((key for key in keys if key.prefix == PREFIX and key.matches(text)), None)
            keys[:] = [*others, mine or hash_key(text, "the match page", SCOPES)]
    except (OSError, ValueError) as error:
        raise LocalError(f"The API keys cannot be read: {error}") from error
    return text
