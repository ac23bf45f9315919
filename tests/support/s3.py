"""A real S3 server for tests."""

import asyncio
import json
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from botocore.exceptions import BotoCoreError, ClientError

from infra.local.children import Child, Command

KEY, SECRET, BUCKET = "AKIDTEST", "secret-of-the-tests", "data"
_PORT_FLAGS = (
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
)


@dataclass(frozen=True)
class S3:
    """A server with one bucket."""

    endpoint: str

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """A client with the right keys."""
        async with get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
        ) as client:
            yield client

    async def upload(self, folder: Path, prefix: str) -> None:
        """Put a folder below a prefix, the manifest last."""
        async with self.client() as client:
            for path in sorted(folder.rglob("*"), key=lambda path: path.name == "manifest.json"):
                if path.is_file():
                    key = f"{prefix}/{path.relative_to(folder)}"
                    await client.put_object(Bucket=BUCKET, Key=key, Body=path.read_bytes())

    async def wait(self) -> None:
        """Until it takes an object."""
        deadline = time.monotonic() + 30
        while True:
            try:
                async with self.client() as client:
                    await client.put_object(Bucket=BUCKET, Key="ready", Body=b"")
                    return
            except (BotoCoreError, ClientError, OSError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """SeaweedFS with one bucket, on this machine alone; it works even when nobody asks, so no longer than a module."""
    home = tmp_path_factory.mktemp("s3")
    identity = {"name": "app", "credentials": [{"accessKey": KEY, "secretKey": SECRET}], "actions": ["Admin"]}
    (home / "s3.json").write_text(json.dumps({"identities": [identity]}))
    ports = dict(zip(_PORT_FLAGS, _free_ports(len(_PORT_FLAGS)), strict=True))
    argv = [
        str(Path(sys.executable).parent / "weed"),
        "-logtostderr=true",
        "mini",
        f"-dir={home}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-bucket={BUCKET}",
        f"-s3.config={home / 's3.json'}",
        *(f"-{flag}={port}" for flag, port in ports.items()),
        "-webdav=false",
        "-admin.ui=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
    ]
    child = Child(Command("s3", argv, log=home / "log", env={"GOMEMLIMIT": "150MiB"}))
    try:
        server = S3(f"http://127.0.0.1:{ports['s3.port']}")
        asyncio.run(server.wait())
        yield server
    finally:
        child.stop()


def _free_ports(n: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(n)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
