"""Replays completions through gpt-oss's own Responses server, and writes what a client gets, one JSON object a line.

It runs in the environment of gpt-oss, so it imports nothing of the project. The argument is a file of completions
(`id` and `tokens`). What the server prints is not shown.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai_harmony
from gpt_oss.responses_api.api_server import create_api_server
from starlette.testclient import TestClient

_RETURN = 200_002


class Replay:
    """In the place of a model: gives the tokens of a completion, then `<|return|>`."""

    def __init__(self) -> None:
        self.tokens: list[int] = []
        self.given = 0

    def begin(self, tokens: list[int]) -> None:
        self.tokens, self.given = tokens, 0

    def __call__(self, before: list[int], temperature: float, new_request: bool) -> int:
        self.given += 1
        return self.tokens[self.given - 1] if self.given <= len(self.tokens) else _RETURN


class Watched:
    """The server, with the exceptions that it does not handle: their text is not in its answer."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.error = ""

    async def __call__(self, scope: Any, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        self.error = ""
        try:
            await self.app(scope, receive, send)
        except Exception as error:
            self.error = f"{type(error).__name__}: {error}"
            raise


def answers(completions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    encoding = openai_harmony.load_harmony_encoding(openai_harmony.HarmonyEncodingName.HARMONY_GPT_OSS)
    replay = Replay()
    server = Watched(create_api_server(replay, encoding))
    client = TestClient(server, raise_server_exceptions=False)
    found = []
    for completion in completions:
        replay.begin(completion["tokens"])
        answer = client.post("/v1/responses", json={"input": "Hi", "stream": False})
        whole = {"status": answer.status_code, "error": server.error, "given": replay.given}
        whole["output"] = answer.json()["output"] if answer.status_code == 200 else []
        replay.begin(completion["tokens"])
        answer = client.post("/v1/responses", json={"input": "Hi", "stream": True})
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        stream = {"status": answer.status_code, "error": server.error, "given": replay.given, "events": events}
        found.append({"id": completion["id"], "whole": whole, "stream": stream})
    return found


def main() -> None:
    completions = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    with contextlib.redirect_stdout(io.StringIO()):
        found = answers(completions)
    lines: list[dict[str, Any]] = [{"library": openai_harmony.StreamableParser.__module__.split(".")[0]}, *found]
    Path(os.environ["PEERS_OUTPUT"]).write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")


if __name__ == "__main__":
    main()
