"""Look for new artifacts when the pipeline says that there are some.

Alone because each resource of the API has its handler module.
"""

from aiohttp import web

from app import appkeys
from app.schemas import RefreshOut


async def refresh_artifacts(request: web.Request) -> RefreshOut:
    """Look for new artifacts now, not at the next poll; tells what is served after the look."""
    look = await request.app[appkeys.SNAPSHOTS].ask()
    return RefreshOut(snapshot_id=look.snapshot_id, changed=look.is_changed, fault=look.fault)
