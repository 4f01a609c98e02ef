"""The live feed under load: what idle readers cost, and how long changes take to reach readers. Prints a table.

    python3 bench/feed.py [--idle 2000] [--readers 100] [--rate 1000] [--seconds 10]

Works on build/release/cairn, as `bin/bench` builds it. Delays are from the entry's own clock, before its commit, to the
reader's socket; readers, writers, server and PostgreSQL share the machine."""
import argparse
import asyncio
import datetime
import json
import os
import pathlib
import resource
import tempfile
import time
import urllib.request

import bench

PASSWORD = "correct horse battery staple"


def call(port, method, path, body=None, token=None):
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(f"http://127.0.0.1:{port}/api/v1{path}", method=method, headers=headers,
                                     data=json.dumps(body).encode() if body is not None else None)
    with urllib.request.urlopen(request) as reply:
        return json.loads(reply.read() or b"null")


class Reader(asyncio.Protocol):
    """Counts events; of each piece that arrives, the delay of its last change."""
    open = 0

    def __init__(self, request):
        self.request, self.events, self.delays, self.ready = request, 0, [], False

    def connection_made(self, transport):
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data):
        now = time.time()
        if not self.ready and b"event: ready" in data:
            self.ready = True
            Reader.open += 1
        self.events += data.count(b"event: change")
        at = data.rfind(b'"created_at":"')
        if at >= 0:
            text = data[at + 14:data.find(b'"', at + 14)].decode()
            if text.endswith("Z"):
                self.delays.append(now - datetime.datetime.fromisoformat(text[:-1] + "+00:00").timestamp())


async def connect(port, organization, token, count):
    request = (f"GET /api/v1/organizations/{organization}/events HTTP/1.1\r\nHost: localhost\r\n"
               f"Authorization: Bearer {token}\r\n\r\n").encode()
    loop, readers, before = asyncio.get_running_loop(), [], Reader.open
    for begin in range(0, count, 50):
        for _ in range(min(50, count - begin)):
            readers.append((await loop.create_connection(lambda: Reader(request), "127.0.0.1", port))[1])
        while Reader.open < before + len(readers):
            await asyncio.sleep(0.01)
    return readers


async def write(port, token, tasks, rate, seconds, number, writers):
    """One connection's share of the changes, each at its time."""
    source, sink = await asyncio.open_connection("127.0.0.1", port)
    begin, made = time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        await asyncio.sleep(max(0, begin + made * writers / rate - time.monotonic()))
        body = json.dumps({"estimated_hours": made % 1000 + 1}).encode()
        task = tasks[(made * writers + number) % len(tasks)]
        sink.write(f"PATCH /api/v1/tasks/{task} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
                   f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await source.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await source.readexactly(length)
        made += 1
    sink.close()
    return made


async def measure(cairn, options):
    port = cairn.port
    call(port, "POST", "/accounts", {"email": "ada@example.org", "password": PASSWORD, "first_name": "Ada",
                                     "last_name": "Example"})
    token = call(port, "POST", "/sessions", {"email": "ada@example.org", "password": PASSWORD})["token"]
    organization = call(port, "POST", "/organizations", {"name": "Acme", "slug": "acme"}, token)["id"]
    project = call(port, "POST", f"/organizations/{organization}/projects", {"name": "Bridge"}, token)["id"]
    tasks = [call(port, "POST", f"/projects/{project}/tasks", {"title": f"Task {n}"}, token)["id"] for n in range(200)]

    before = bench.memory_mib([cairn.pid], "Pss")
    idle = await connect(port, organization, token, options.idle)
    await asyncio.sleep(2)
    cost = bench.memory_mib([cairn.pid], "Pss") - before
    cpu = cairn.cpu()
    await asyncio.sleep(5)
    load = {name: (seconds - cpu[name]) / 5 * 100 for name, seconds in cairn.cpu().items()}
    bench.say(f"{options.idle} idle readers: {cost:.1f} MiB, "
              + ", ".join(f"{name} {percent:.1f} % of a core" for name, percent in load.items()))
    for reader in idle:
        reader.transport.abort()
    Reader.open = 0
    await asyncio.sleep(1)

    readers = await connect(port, organization, token, options.readers)
    writers = 16
    made = sum(await asyncio.gather(*(write(port, token, tasks, options.rate, options.seconds, number, writers)
                                      for number in range(writers))))
    deadline = time.monotonic() + 10
    while min(reader.events for reader in readers) < made and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    delays = sorted(delay for reader in readers for delay in reader.delays)
    missing = sum(made - reader.events for reader in readers)
    at = lambda share: delays[int(share * (len(delays) - 1))] * 1000
    bench.say(f"{options.readers} readers, {made / options.seconds:,.0f} changes/s: p50 {at(0.5):.0f} ms, "
              f"p99 {at(0.99):.0f} ms, most {at(1):.0f} ms; {missing} events missing")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--readers", type=int, default=100)
    parser.add_argument("--rate", type=int, default=1000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--cairn", type=pathlib.Path, default=bench.CAIRN)
    options = parser.parse_args()
    bench.CAIRN = options.cairn
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    os.environ["CAIRN_EVENTS__STREAMS_PER_PERSON"] = "10000"
    with tempfile.TemporaryDirectory(prefix="cairn-feed-") as scratch:
        os.chmod(scratch, 0o755)
        base = pathlib.Path(scratch)
        with bench.Cairn(base / "data", base / "log") as cairn:
            asyncio.run(measure(cairn, options))


main()
