"""`doctor` in front of Next.js: the checks that fail are those of docs/how-to/doctor.md."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.diagnosed import checked, diagnosed
from tests.wild.programs import debian, free_port, listening, node

_WORDS = """
export const wait = () => new Promise((resolve) => setTimeout(resolve, 20));
const event = (value) => `data: ${JSON.stringify(value)}\\n\\n`;
export async function* words() {
  for (let number = 0; number < 60; number++) {
    yield event({ choices: [{ index: 0, delta: { content: `word ${number} ` }, finish_reason: null }] });
    await wait();
  }
  const usage = { prompt_tokens: 9, completion_tokens: 60 };
  yield event({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }], usage });
  yield "data: [DONE]\\n\\n";
}
"""
_ROUTE_HANDLER = """
import { words } from "../../../../words.mjs";
export const dynamic = "force-dynamic";
export async function POST() {
  const encoder = new TextEncoder();
  const body = new ReadableStream({
    async start(controller) {
      for await (const each of words()) controller.enqueue(encoder.encode(each));
      controller.close();
    },
  });
  return new Response(body, { headers: { "content-type": "text/event-stream", "cache-control": "no-cache" } });
}
"""
_API_ROUTE = """
import { words } from "UP/words.mjs";
export default async function handler(request, answer) {
  answer.setHeader("content-type", "text/event-stream");
  answer.setHeader("cache-control", "CACHING");
  for await (const each of words()) answer.write(each);
  answer.end();
}
"""
_BELOW = "../../../../.."
FILES = {
    "words.mjs": _WORDS,
    "next.config.mjs": "export default {};\n",
    "app/v1/chat/completions/route.js": _ROUTE_HANDLER,
    "pages/api/v1/chat/completions.js": _API_ROUTE.replace("UP", "../../../..").replace("CACHING", "no-cache"),
    "pages/api/as_is/v1/chat/completions.js": _API_ROUTE.replace("UP", _BELOW).replace(
        "CACHING", "no-cache, no-transform"
    ),
}


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Built once, and again when a file of it has changed."""
    folder = node("next@16.4.6", "react@19.2.1", "react-dom@19.2.1", name="next")
    stamp, texts = folder / "built", hashlib.sha256(repr(FILES).encode()).hexdigest()
    if not stamp.exists() or stamp.read_text() != texts:
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        _next(folder, "build")
        stamp.write_text(texts)
    port = free_port()
    command = [debian("node", "nodejs"), folder / "node_modules/next/dist/bin/next", "start", folder]
    place = tmp_path_factory.mktemp("next")
    with listening([*command, "--hostname", "127.0.0.1", "--port", port], port, place) as url:
        yield url


def _next(folder: Path, *words: str) -> None:
    command = [debian("node", "nodejs"), "node_modules/next/dist/bin/next", *words]
    environment = {**os.environ, "NEXT_TELEMETRY_DISABLED": "1", "CI": "1"}
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=900, env=environment, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr).decode("utf-8", "replace")[-2_000:]


@pytest.mark.real("Next.js")
@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("Next.js, a route handler", ""),
        ("Next.js, an API route", "/api"),
        ("Next.js, no-transform", "/api/as_is"),
    ],
)
def test_next_js(name: str, base: str, application: str) -> None:
    checked(name, diagnosed(f"{application}{base}"))
