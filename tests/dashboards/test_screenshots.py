from pathlib import Path

import pytest

from infra.tools.screenshots import ERROR, SHOTS, take

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(600)]

PNG = b"\x89PNG\r\n\x1a\n"


async def test_every_picture_is_taken_without_an_error_on_the_page(site: str, tmp_path: Path) -> None:
    assert await take(site, tmp_path) == []
    pictures = {path.stem: path.read_bytes() for path in tmp_path.iterdir()}
    assert pictures.keys() == {shot.name for shot in (*SHOTS, ERROR)}
    assert all(picture.startswith(PNG) for picture in pictures.values())
    assert len(set(pictures.values())) == len(SHOTS) + 1
