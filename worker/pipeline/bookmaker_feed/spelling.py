"""Spellings of clubs compared across alphabets: Cyrillic and Latin names reduced to one rough sound."""

import re
import unicodedata
from functools import lru_cache

from rapidfuzz import fuzz

_CYRILLIC = dict(
    zip(
        "абвгдеёжзийклмнопрстуфхцчшщъыьэюя",
        "a b v g d e e zh z i y k l m n o p r s t u f h ts ch sh sch _ i _ e yu ya".replace("_", "").split(" "),
        strict=True,
    )
)
# words that say what kind of club it is, or stand in one spelling and not in the other
_FILLERS = frozenset(
    "fc|cf|fk|sk|ac|as|afc|sc|cd|ud|ca|if|bk|ff|ik|sv|fsv|vfb|vfl|tsv|the|de|club|klub".split("|")  # noqa: SIM905 - on one screen
)
# parts of club names that we often leave out and bookmakers spell out, as they sound
_SUFFIXES = frozenset(
    ("unaited", "siti", "taun", "kaunti", "rovers", "uonderers", "albion", "atletik", "aleksandra", "argail")
)
_SOUNDS = (
    ("sch", "sh"),
    ("tsh", "ch"),
    ("ck", "k"),
    ("ph", "f"),
    ("th", "t"),
    ("qu", "kv"),
    ("kh", "h"),
    ("w", "v"),
    ("x", "ks"),
    ("j", "y"),
    ("ya", "ia"),
    ("yu", "u"),
    ("y", "i"),
    ("c(?=[eiy])", "s"),
    ("c(?!h)", "k"),
    ("z", "s"),
    ("ts", "s"),
)


@lru_cache(maxsize=65_536)
def sound(name: str) -> str:
    """The rough sound of a name, in lower-case Latin letters."""
    text = "".join(_CYRILLIC.get(letter, letter) for letter in name.casefold())
    text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    words = [word for word in re.findall(r"[a-z0-9]+", text) if word not in _FILLERS]
    text = " ".join(words)
    for pattern, replacement in _SOUNDS:
        text = re.sub(pattern, replacement, text)
    return re.sub(r"([a-z])\1+", r"\1", text)


def likeness(one: str, other: str) -> float:
    """How alike `one`, in full, and `other`, perhaps in our short form, sound: 0 to 100."""
    first, second = sound(one), sound(other)
    if not first or not second:
        return 0.0
    # a whole word in common says much ("Benfica", "Sl Benfica"), yet less than the same name
    whole = max(fuzz.token_sort_ratio(first, second), 0.9 * fuzz.token_set_ratio(first, second))
    return float(max(whole, 0.95 * fuzz.token_sort_ratio(_bare(first), second)))


def _bare(name: str) -> str:
    return " ".join(word for word in name.split() if word not in _SUFFIXES)
