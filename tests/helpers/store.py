"""An object store on this machine, which speaks the protocol of S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import boto3
from moto.server import ThreadedMotoServer


class Store(NamedTuple):
    """An object store with one bucket, and the environment in which commands find it."""

    client: object
    environment: dict[str, str]

    def put(self, key: str, data: bytes) -> str:
        self.client.put_object(Bucket="bucket", Key=key, Body=data)  # type: ignore[attr-defined]
        return f"s3://bucket/{key}"

    def get(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket="bucket", Key=key)["Body"].read())  # type: ignore[attr-defined]

    def names(self) -> set[str]:
        found = self.client.list_objects_v2(Bucket="bucket").get("Contents", [])  # type: ignore[attr-defined]
        return {each["Key"] for each in found}


@contextmanager
def serving() -> Iterator[Store]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id="key",
            aws_secret_access_key="secret",
            region_name="us-east-1",
        )
        client.create_bucket(Bucket="bucket")
        yield Store(client, environment)
    finally:
        server.stop()
