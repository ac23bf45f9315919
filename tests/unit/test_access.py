"""Keys: made, kept as hashes, recognised, ended, rotated."""

import asyncio
import io
import re
import stat
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from app.auth import __main__ as command
from app.auth import keys as auth_keys
from app.auth.keyring import Keyring, load_keys
from app.auth.keys import Scope, key_prefix, new_key
from app.errors import KeyInvalid
from app.settings import REQUESTS_PER_MINUTE, KeySettings, Settings, is_loopback
from tests.support.build_keys import a_key, as_setting

ROOT = Path(__file__).parents[2]
READ = frozenset({Scope.READ})


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str, said: str = "") -> str:
    """What `scripts/keys` prints."""
    monkeypatch.setattr("sys.argv", ["keys", *arguments])
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    command.main()
    return capsys.readouterr().out.strip()


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TOUCHLINE_HOME", str(tmp_path))
    return tmp_path


def test_key_is_found_by_the_whole_of_it() -> None:
    text, key = a_key()
    keyring = Keyring([key, a_key()[1]])
    assert keyring.find(text) is key
    for wrong in (
        "",
        ".",
        text[:-1],
        text + "x",
        text.upper(),
        f"{key.prefix}.",
        f"nobody.{text.partition('.')[2]}",
        "ÿ.ÿ",
    ):
        with pytest.raises(KeyInvalid, match=r"No such API key\."):
            keyring.find(wrong)


def test_nobody_knows_the_key_of_unknown_prefixes() -> None:
    with pytest.raises(KeyInvalid):
        Keyring().find("nobody.")


def test_secret_is_nowhere_in_what_is_kept() -> None:
    text, key = a_key()
    secret = text.partition(".")[2]
    assert len(secret) >= 43  # 256 bits
    assert secret not in key.model_dump_json() + repr(key)
    assert key_prefix(text) == key.prefix


def test_ended_keys_say_so_to_those_who_have_them() -> None:
    expired_text, expired = a_key(lasts_s=-1)
    revoked_text, other = a_key(lasts_s=3600)
    revoked = other.model_copy(update={"revoked_at": datetime.now(UTC)})
    keyring = Keyring([expired, revoked])
    with pytest.raises(KeyInvalid, match="is expired"):
        keyring.find(expired_text)
    with pytest.raises(KeyInvalid, match="is revoked"):
        keyring.find(revoked_text)


def test_two_keys_of_one_owner_live_side_by_side_while_one_is_rotated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    old = run(monkeypatch, capsys, "create", "the shop", "--scopes", "read,predict")
    new = run(monkeypatch, capsys, "rotate", key_prefix(old), "--overlap-days", "2")
    keys = load_keys(Settings().keys)
    assert [(key.owner, key.scopes) for key in keys] == [("the shop", {Scope.READ, Scope.PREDICT})] * 2
    assert {key_prefix(text) for text in (old, new)} == {Keyring(keys).find(text).prefix for text in (old, new)}
    left = keys[0].expires_at
    assert left is not None
    assert timedelta(days=1.9) < left - datetime.now(UTC) <= timedelta(days=2)
    later = Keyring([key.model_copy(update={"expires_at": datetime.now(UTC)}) for key in keys[:1]] + keys[1:])
    assert later.find(new).owner == "the shop"
    with pytest.raises(KeyInvalid):
        later.find(old)


def test_rotation_never_lengthens_a_life(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    old = run(monkeypatch, capsys, "create", "a", "--scopes", "read", "--days", "1")
    before = load_keys(Settings().keys)[0].expires_at
    run(monkeypatch, capsys, "rotate", key_prefix(old), "--overlap-days", "30")
    assert load_keys(Settings().keys)[0].expires_at == before


def test_rotated_key_lasts_as_long_as_the_old_one_was_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    old = run(monkeypatch, capsys, "create", "a", "--scopes", "read", "--days", "90")
    run(monkeypatch, capsys, "rotate", key_prefix(old))
    run(monkeypatch, capsys, "rotate", key_prefix(old), "--days", "5")
    lives = [key.expires_at - key.created_at for key in load_keys(Settings().keys)[1:] if key.expires_at]
    assert [round(life / timedelta(days=1), 3) for life in lives] == [90, 5]


def test_unknown_scope_is_named_beside_those_there_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, capsys, "create", "a", "--scopes", "read,nonsense")
    assert "no scope nonsense; there are read, predict, monitor, sql, admin" in capsys.readouterr().err


def test_list_check_and_revoke_never_show_a_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    text = run(monkeypatch, capsys, "create", "a", "--scopes", "monitor")
    prefix, _, secret = text.partition(".")
    checked = run(monkeypatch, capsys, "check", said=f"{text}\n")
    listed = run(monkeypatch, capsys, "list")
    assert checked == listed
    assert listed.split() == [prefix, "for", "good", "monitor", "a"]
    run(monkeypatch, capsys, "revoke", prefix)
    assert "revoked" in run(monkeypatch, capsys, "list")
    assert secret not in listed + (home / "keys.json").read_text()
    with pytest.raises(SystemExit, match="is revoked"):
        run(monkeypatch, capsys, "check", said=text)
    with pytest.raises(SystemExit, match="is revoked; create another"):
        run(monkeypatch, capsys, "rotate", prefix)


@pytest.mark.parametrize("arguments", [("revoke", "nobody"), ("rotate", "nobody")])
def test_unknown_prefix_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], home: Path, arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit, match=r"The file has no key nobody\."):
        run(monkeypatch, capsys, *arguments)


def test_file_is_readable_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with auth_keys.edit_keys(path) as keys:
        keys.append(a_key()[1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(auth_keys.read_keys(path)) == 1


async def test_new_key_is_honoured_at_once(tmp_path: Path) -> None:
    settings = KeySettings(given=None, file=tmp_path / "keys.json")
    async with Keyring.open(settings) as keyring:
        await asyncio.sleep(0.05)  # the watch has looked and now sleeps
        for _ in range(3):
            text, key = a_key()
            with auth_keys.edit_keys(settings.file) as keys:
                keys.append(key)
            await keyring.reread()
            assert keyring.find(text).prefix == key.prefix


async def test_file_that_breaks_costs_no_key_that_was_there(tmp_path: Path) -> None:
    settings = KeySettings(given=None, file=tmp_path / "keys.json")
    text, key = a_key()
    auth_keys.write_keys(settings.file, [key])
    async with Keyring.open(settings) as keyring:
        settings.file.write_text("no keys")
        await keyring.reread()
        assert keyring.find(text).prefix == key.prefix


def test_failed_edit_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    with suppress(ZeroDivisionError), auth_keys.edit_keys(path) as keys:
        keys.append(a_key()[1])
        raise ZeroDivisionError
    assert auth_keys.read_keys(path) == []


@pytest.mark.parametrize("raw", ["", "{}", '[{"prefix": "abcd", "secret": "hunter2"}]', '"hunter2"'])
def test_what_is_no_list_of_keys_is_refused_and_not_quoted(raw: str) -> None:
    with pytest.raises(ValueError, match="no list of API keys") as refused:
        auth_keys.parse_keys(raw)
    assert "hunter2" not in str(refused.value)


def test_two_keys_with_one_prefix_are_refused() -> None:
    key = a_key()[1]
    with pytest.raises(ValueError, match=f"same prefix: {key.prefix}"):
        auth_keys.parse_keys(as_setting(key, key))


def test_keys_come_from_the_environment_and_the_file(tmp_path: Path) -> None:
    (_, given), (_, kept) = a_key(), new_key("b", READ)
    settings = Settings(touchline_home=tmp_path, api_keys=as_setting(given))
    with auth_keys.edit_keys(settings.keys.file) as keys:
        keys.append(kept)
    assert load_keys(settings.keys) == [given, kept]
    assert given.sha256 not in repr(settings)


@pytest.mark.parametrize(
    ("host", "set_to", "expected"),
    [
        ("127.0.0.1", None, 0),
        ("::1", None, 0),
        ("0.0.0.0", None, REQUESTS_PER_MINUTE),
        ("0.0.0.0", 0, 0),
        ("127.0.0.1", 7, 7),
    ],
)
def test_rate_limit_is_off_on_loopback_unless_set(host: str, set_to: int | None, expected: int) -> None:
    assert Settings(app_host=host, rate_limit_per_minute=set_to).http.requests_per_minute == expected


def test_names_are_no_loopback_but_localhost() -> None:
    assert [is_loopback(host) for host in ("localhost", "example.org", "", "127.8.8.8")] == [True, False, False, True]


_ONLY = """
import sys
from importlib import import_module
allowed = set(sys.argv.pop(1).split(",")) | sys.stdlib_module_names | {"app", "worker"}
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed and not name.startswith("_"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
import_module(sys.argv.pop(1)).main()
"""


def run_with_small_lock(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a module where nothing can be imported but what `scripts/setup commands` installs."""
    lock = (ROOT / "infra" / "requirements" / "commands.txt").read_text()
    locked = {line.partition("==")[0] for line in lock.splitlines() if "==" in line}
    normal = {re.sub(r"[-_.]+", "-", name).lower() for name in locked}
    modules = [
        module
        for module, packages in packages_distributions().items()
        if normal & {re.sub(r"[-_.]+", "-", name).lower() for name in packages}
    ]
    command = [sys.executable, "-c", _ONLY, ",".join(modules), module, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.timeout(600)
def test_small_command_needs_its_small_lock_alone(home: Path) -> None:
    """On a fresh machine `scripts/keys` installs these few packages, not the 3 GB of the whole."""
    made = run_with_small_lock("app.auth.__main__", "create", "somebody", "--scopes", "read")
    assert made.returncode == 0, made.stderr
    assert made.stdout.partition(".")[0] in (home / "keys.json").read_text()


@pytest.mark.timeout(600)
@pytest.mark.parametrize("module", ["app.queue.__main__", "app.ledger.__main__", "worker.pipeline.fetch"])
def test_other_small_commands_need_no_more(module: str) -> None:
    made = run_with_small_lock(module, "--help")
    assert made.returncode == 0, made.stderr
    assert "usage" in made.stdout.lower()
