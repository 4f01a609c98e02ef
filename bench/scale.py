"""Whether reading the record slows down as it grows; see docs/benchmark.md. Part of bench.py."""
import http.client
import json
import random
import statistics
import time

SIZES = (100_000, 10_000_000)
ENTRIES = 20         # of each task: its history is as long at both sizes
BATCH = 100_000      # entries that one transaction commits
SAMPLES = 2_000      # of each question
GOAL = 1.5

# Entries n of [:first, :last): an edit of task n % :tasks by somebody of its organization, at even distances in the last
# 700 days. So the entries of a task lie as far from each other as they can.
ENTRIES_SQL = """
INSERT INTO audit_logs (user_id, organization_id, entity_type, entity_id, action, old_values, new_values, ip_address,
                        user_agent, metadata, created_at)
SELECT md5('user' || t.n % 200 + 200)::uuid, md5('organization' || 1 + t.n % 200)::uuid, 'tasks', md5('task' || t.n)::uuid,
       'update', jsonb_build_object('status', 'todo', 'actual_hours', e.n % 40),
       jsonb_build_object('status', 'in_progress', 'actual_hours', 1 + e.n % 40), '192.0.2.1', 'bench',
       jsonb_build_object('request_id', 'bench-' || e.n), now() - (1 - e.n::float8 / :size) * interval '700 days'
FROM generate_series(:first, :last - 1) AS e (n)
CROSS JOIN LATERAL (SELECT e.n % (:size / :entries) AS n) AS t;
"""


def grow(cairn, database, size, say):
    """The record of before makes room for one of `size` entries."""
    begin = time.monotonic()
    cairn.psql(database, "-c", "TRUNCATE audit_logs CASCADE")
    for first in range(0, size, BATCH):
        cairn.psql(database, "-v", f"size={size}", "-v", f"entries={ENTRIES}", "-v", f"first={first}",
                   "-v", f"last={first + BATCH}",
                   input="SET session_replication_role = replica;\n" + ENTRIES_SQL)
    cairn.psql(database, "-c", "VACUUM (ANALYZE) audit_logs", "-c", "CHECKPOINT")
    say(f"  {size:,} entries in {time.monotonic() - begin:.0f} s")


def median_ms(connection, requests):
    """Of requests one after another, the first tenth for warming up."""
    taken = []
    for path, token, expected in requests:
        begin = time.perf_counter()
        connection.request("GET", "/api/v1" + path, headers={"Authorization": f"Bearer {token}"})
        reply = connection.getresponse()
        content = reply.read()
        taken.append(time.perf_counter() - begin)
        if reply.status != 200 or len(json.loads(content)["data"]) != expected:
            raise RuntimeError(f"{path}: {reply.status} {content}")
    return 1000 * statistics.median(taken[len(taken) // 10:])


def measure(cairn, database, tokens, uuid_of, say):
    """`tokens`: of organization n at n."""
    report = {}
    for size in SIZES:
        grow(cairn, database, size, say)
        tasks = [random.randrange(size // ENTRIES) for _ in range(SAMPLES)]
        organizations = [1 + number % 200 for number in tasks]
        by_number = list(zip(tasks, organizations))
        asked = {
            "history of a task": [(f"/tasks/{uuid_of('task', n)}/history", tokens[o], ENTRIES) for n, o in by_number],
            "page of an organization's record": [(f"/organizations/{uuid_of('organization', o)}/audit?limit=50",
                                                  tokens[o], 50) for o in organizations],
            "page of it before some time": [(f"/organizations/{uuid_of('organization', o)}/audit?limit=50&before="
                                             + time.strftime("%Y-%m-%dT00:00:00Z", time.gmtime(
                                                 time.time() - 86400 * random.randrange(1, 30))), tokens[o], 50)
                                            for o in organizations],
        }
        connection = http.client.HTTPConnection("127.0.0.1", cairn.port, timeout=60)
        for what, requests in asked.items():
            report.setdefault(what, []).append(median_ms(connection, requests))
    for what, medians in report.items():
        ratio = medians[-1] / medians[0]
        say(f"{what:34} " + "  ".join(f"{size:,}: {median:.2f} ms" for size, median in zip(SIZES, medians)) +
            f"  ratio {ratio:.2f} (goal ≤ {GOAL}: {'ok' if ratio <= GOAL else 'miss'})")
    return {"sizes": SIZES, "median_ms": report}
