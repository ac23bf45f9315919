"""The client of the HTTP API: `async with TouchlineClient(address) as client`. It needs aiohttp and pydantic alone."""

from app.client.change_events import FeedEvent
from app.client.frames import Frame
from app.client.http_session import ApiFailure, ApiReply, ApiRequest, ApiSession
from app.client.operations import TouchlineClient

__all__ = ["ApiFailure", "ApiReply", "ApiRequest", "ApiSession", "FeedEvent", "Frame", "TouchlineClient"]
