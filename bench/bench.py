"""Runs Cairn, pgbench and a peer side by side; see docs/benchmark.md. bin/bench builds what this needs."""
import argparse
import base64
import csv
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import platform
import re
import resource
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

import scale
import timing

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
CAIRN = ROOT / "build/release/cairn"
RESULTS = ROOT / "build/bench"
DATABASE, BASELINE = "cairn", "bench_spec"
SUPERUSER = "cairn_super"
CONNECTIONS = 64
CLIENT_COUNTS = (2, 4, 8, 16, 32)
JWT_SECRET = "measurement only"
MIX = {"task": 80, "page": 15, "status": 3, "create": 2}
IMPORT_ROWS = 10_000


class Case:
    def __init__(self, name, title, pgbench, peer):
        """pgbench, peer: (first foundation, goal) as ratios to these; None: no goal."""
        self.name, self.title, self.goals = name, title, {"pgbench": pgbench, "peer": peer}


CASES = [
    Case("task", "task by id", (0.5, 1.0), (4, None)),
    Case("page", "page of 50", (0.5, 0.9), (3, None)),
    Case("counts", "counts by status", None, (2, 4)),
    Case("stats", "figures of a project", None, (2, 4)),
    Case("create", "create", (0.7, 1.0), (1.3, None)),
    Case("status", "status change", (0.7, 1.0), (1.3, None)),
    Case("mix", "mix 80/15/5", (None, 0.8), (2, 4)),
]


def say(text):
    print(text, flush=True)


def uuid_of(kind, number):
    return uuid.UUID(hashlib.md5(f"{kind}{number}".encode()).hexdigest())


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# Processes ------------------------------------------------------------------------------------------------------------

def stat_fields(pid):
    """The fields of /proc/PID/stat after the command: [0] is the state."""
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def children(pid):
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                if int(stat_fields(entry)[1]) == pid:
                    found.append(int(entry))
            except OSError:
                pass  # ended meanwhile
    return found


def tree(pid):
    return [pid] + [inner for child in children(pid) for inner in tree(child)]


def cpu_seconds(pids, with_reaped):
    """CPU time of the processes, and of children they have waited for."""
    ticks = 0
    for pid in pids:
        try:
            fields = stat_fields(pid)
        except OSError:
            continue
        ticks += sum(int(field) for field in fields[11:15 if with_reaped else 13])
    return ticks / os.sysconf("SC_CLK_TCK")


class Machine:
    """How much of the machine's CPU time goes to programs that are none of ours, from here to the call."""

    def __init__(self):
        self.begin = self._seconds()

    @staticmethod
    def _seconds():
        ticks = [int(field) for field in pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        user, nice, system, _, _, irq, softirq, _ = ticks
        return [part / os.sysconf("SC_CLK_TCK") for part in (user + nice + system + irq + softirq, sum(ticks))]

    def others_percent(self, own_seconds):
        busy, total = (end - begin for begin, end in zip(self.begin, self._seconds()))
        return max(0.0, 100 * (busy - own_seconds) / total)


def memory_mib(pids, what):
    kib = 0
    for pid in pids:
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith(what + ":"):
                kib += int(line.split()[1])
    return kib / 1024


def wait_for_200(port, path, process, seconds):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended with status {process.returncode} before it was ready")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", path)
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.002)
    raise RuntimeError(f"{process.args[0]} was not ready within {seconds} s")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Program:
    """A child that ends with its `with` block, and no later than this program."""

    def __init__(self, words, log, environment=None):
        self.log = open(log, "ab")
        # A session of its own: Ctrl-C is for us, who then stop the children in order.
        self.process = subprocess.Popen(words, stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
                                        env=environment, start_new_session=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    @property
    def pid(self):
        return self.process.pid


class Cairn(Program):
    def __init__(self, data_dir, log, *flags):
        self.data_dir, self.port = data_dir, free_port()
        begin = time.monotonic()
        super().__init__([CAIRN, "serve", "--data-dir", data_dir, "--listen", f"127.0.0.1:{self.port}",
                          "--log-access", "errors", "--limits-read", "1000000", "--limits-write", "1000000", *flags], log)
        try:
            wait_for_200(self.port, "/readyz", self.process, 120)
        except BaseException:
            self.__exit__()
            raise
        self.seconds_to_ready = time.monotonic() - begin
        # The second line of the lock file says where the sockets are.
        self.sockets = (data_dir / "lock").read_text().splitlines()[1]
        servants = {stat[0]: pid for pid in children(self.pid) for stat in [self._name(pid)]}
        self.postgres, self.redis = servants["postgres"], servants["redis-server"]

    @staticmethod
    def _name(pid):
        return (pathlib.Path(f"/proc/{pid}/comm").read_text().strip(),)

    def cpu(self):
        return {"server": cpu_seconds([self.pid], False), "postgres": cpu_seconds(tree(self.postgres), True),
                "redis": cpu_seconds([self.redis], False)}

    def psql(self, database, *words, **options):
        return subprocess.run(["psql", "-qXtA", "-F", " ", "-v", "ON_ERROR_STOP=1", "-h", self.sockets, "-p", "5432",
                               "-U", SUPERUSER, "-d", database, *words], check=True, text=True, stdout=subprocess.PIPE,
                              **options).stdout


# The data -------------------------------------------------------------------------------------------------------------

def load(cairn, tasks):
    """Both databases with the same rows: Cairn's own, and one with the specification's schema and triggers as they are
    in its text, plus the one index that the page needs."""
    cairn.psql("template1", "-c", f"CREATE DATABASE {BASELINE} TEMPLATE template0")
    cairn.psql(BASELINE, "-f", str(ROOT / "db/migrations/0001_spec.sql"))
    cairn.psql(BASELINE, "-c", "CREATE INDEX ON tasks (project_id, status, due_date, id)")
    for database, column in ((DATABASE, ", organization_id"), (BASELINE, "")):
        begin = time.monotonic()
        cairn.psql(database, "-v", f"tasks={tasks}", "-v", f"org_column={column}", "-v", f"org_value={column}",
                   "-f", str(HERE / "data.sql"))
        if database == DATABASE:  # the rows came in without triggers, which say what members may do
            cairn.psql(database, "-c", "SET app.system = 'bench'", "-c", "UPDATE user_organizations SET rights = 0",
                       "-c", "VACUUM (ANALYZE)")
        say(f"  {database}: {tasks:,} tasks in {time.monotonic() - begin:.0f} s")


def user_of(organization):
    return uuid_of("user", organization + 199)


def make_sessions(cairn, file):
    """One live session per organization, as if its user had logged in."""
    rows = []
    with open(file, "w") as tokens:
        for number in range(1, 201):
            user = user_of(number)
            token = "cairn_s_" + base64url(user.bytes + hashlib.sha256(f"bench{number}".encode()).digest())
            rows.append(f"('\\x{hashlib.sha256(token.encode()).hexdigest()}'::bytea, '{user}'::uuid, "
                        "now() + interval '23 hours')")
            tokens.write(f"{number} {token}\n")
    cairn.psql(DATABASE, input="WITH s (token_hash, user_id, expires_at) AS (VALUES " + ",".join(rows) + "), d AS ("
               "INSERT INTO app.devices (user_id, expires_at) SELECT user_id, expires_at FROM s RETURNING id, user_id) "
               "INSERT INTO app.sessions (token_hash, user_id, device_id, expires_at) "
               "SELECT token_hash, user_id, d.id, expires_at FROM s JOIN d USING (user_id)")


def make_jwts(file):
    with open(file, "w") as tokens:
        for number in range(1, 201):
            claims = {"sub": str(user_of(number)), "org": str(uuid_of("organization", number)), "role": "member",
                      "exp": int(time.time()) + 86400}
            signed = ".".join(base64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
            mac = hmac.digest(JWT_SECRET.encode(), signed.encode(), "sha256")
            tokens.write(f"{number} {signed}.{base64url(mac)}\n")


def write_targets(cairn, database, tasks, file):
    file.write_text(cairn.psql(database, "-v", f"tasks={tasks}", "-f", str(HERE / "targets.sql")))


# Load -----------------------------------------------------------------------------------------------------------------

class Sample:
    """One measured interval."""

    def __init__(self, rate, p50, p99, refused, cpu, others, clients=None):
        """p50, p99 in ms; cpu: microseconds per request by program; others: percent of the machine."""
        self.rate, self.p50, self.p99, self.refused = rate, p50, p99, refused
        self.cpu, self.others, self.clients = cpu, others, clients


def children_cpu():
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def wrk(port, case, seconds, environment, cpu, seed):
    machine, before, own = Machine(), cpu(), children_cpu()
    done = subprocess.run(["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-s",
                           HERE / "load.lua", f"http://127.0.0.1:{port}"], text=True, capture_output=True,
                          env={**os.environ, **environment, "CASE": case, "SEED": str(seed)})
    spent, own = cpu(), children_cpu() - own
    others = machine.others_percent(own + sum(spent[name] - before[name] for name in before))
    found = re.search(r"^RESULT (\d+) (\S+) (\S+) (\S+) (\d+) (\d+) (\d+)$", done.stdout, re.M)
    if not found or int(found[1]) == 0:
        raise RuntimeError(f"wrk, {case}: {done.stdout}{done.stderr}")
    requests, duration, p50, p99, refused, broken, _ = (float(field) for field in found.groups())
    micros = {name: 1e6 * (spent[name] - before[name]) / requests for name in before}
    micros["load"] = 1e6 * own / requests
    return Sample(requests / duration, p50, p99, int(refused + broken), micros, others)


def pgbench(cairn, case, clients, seconds, tasks):
    scripts = [f"{HERE}/sql/{name}.sql@{weight}" for name, weight in MIX.items()] if case == "mix" else \
        [f"{HERE}/sql/{case}.sql"]
    machine, before, own = Machine(), cpu_seconds(tree(cairn.postgres), True), children_cpu()
    done = subprocess.run(["pgbench", "-n", "-M", "prepared", "-T", str(seconds), "-c", str(clients), "-j",
                           str(min(clients, os.cpu_count())), "-D", f"tasks={tasks}", "-h", cairn.sockets, "-p", "5432",
                           "-U", SUPERUSER, *[word for script in scripts for word in ("-f", script)], BASELINE],
                          text=True, capture_output=True)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or not found:
        raise RuntimeError(f"pgbench, {case}: {done.stdout}{done.stderr}")
    transactions = int(re.search(r"processed: (\d+)", done.stdout)[1])
    latency = float(re.search(r"latency average = ([\d.]+)", done.stdout)[1])
    failed = int(re.search(r"failed transactions: (\d+)", done.stdout)[1])
    time.sleep(0.2)  # the backends must have been reaped for their time to count
    spent, own = cpu_seconds(tree(cairn.postgres), True) - before, children_cpu() - own
    others = machine.others_percent(spent + own)
    micros = {"postgres": 1e6 * spent / transactions, "load": 1e6 * own / transactions}
    # The mean stands for the median: pgbench tells no more without a log of every statement.
    return Sample(float(found[1]), latency, None, failed, micros, others, clients)


class Peer:
    """The Fastify server of a directory with measurement peers, on the baseline database."""

    def __init__(self, source, scratch):
        self.scratch = scratch
        self.home = RESULTS / "peer"
        self.home.mkdir(parents=True, exist_ok=True)
        for file in (source / "peers/fastify").iterdir():
            if file.is_file():
                shutil.copy(file, self.home)
        if not (self.home / "node_modules").exists():
            subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error"], cwd=self.home, check=True)

    def run(self, cairn, cases, seconds, environment, refresh, seed):
        redis_port, port = free_port(), free_port()
        settings = {"PGHOST": cairn.sockets, "PGPORT": "5432", "PGUSER": SUPERUSER, "PGDATABASE": BASELINE,
                    "PORT": str(port), "REDIS_PORT": str(redis_port), "JWT_SECRET": JWT_SECRET, "WORKERS": "1",
                    "NODE_ENV": "production"}
        redis = ["redis-server", "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", self.scratch]
        with Program(redis, self.scratch / "peer-redis.log") as store, \
                Program(["node", self.home / "server.js"], self.scratch / "peer.log",
                        {**os.environ, **settings}) as peer:
            wait_for_200(port, "/health", peer.process, 30)

            def cpu():
                return {"server": cpu_seconds([peer.pid], False), "redis": cpu_seconds([store.pid], False),
                        "postgres": cpu_seconds(tree(cairn.postgres), True)}

            samples = {}
            for case in cases:
                refresh()
                wrk(port, case.name, 1, environment, cpu, seed + 1000)  # its compiler warms up
                refresh()
                samples[case.name] = wrk(port, case.name, seconds, environment, cpu, seed)
            return samples


# Other measurements ---------------------------------------------------------------------------------------------------

def write_import(ours, plain, run):
    """The same tasks as a file for `cairn import csv` and as one for COPY."""
    with open(ours, "w", newline="") as left, open(plain, "w", newline="") as right:
        left, right = csv.writer(left), csv.writer(right)
        left.writerow("key title description status priority due_date estimated_hours actual_hours assigned_to tags "
                      "project".split())
        for n in range(IMPORT_ROWS):
            title, text = f"Imported task {n}", "What was known of it elsewhere, in about as many words as usual. " * 3
            status, priority = ("todo", "in_progress", "done")[n % 3], ("low", "medium", "high", "urgent")[n % 4]
            left.writerow([f"{run}-{n}", title, text, status, priority, "2026-03-01", n % 30, n % 20, "", "tag1;tag2",
                           f"Import {run}, {n % 10}"])
            right.writerow([uuid_of("project", 200 * (1 + n % 10)), title, text, status, priority, "2026-03-01", n % 30,
                            n % 20, "{tag1,tag2}", user_of(1)])


def timed(words):
    begin = time.monotonic()
    done = subprocess.run(words, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{words[0]}: {done.stdout}{done.stderr}")
    return time.monotonic() - begin


def measure_import(cairn, scratch, rounds):
    ours, copies = [], []
    for run in range(rounds):
        write_import(scratch / "ours.csv", scratch / "plain.csv", run)
        copy = "\\copy tasks (project_id, title, description, status, priority, due_date, estimated_hours, " \
               f"actual_hours, tags, created_by) from '{scratch}/plain.csv' (format csv)"
        copies.append(timed(["psql", "-qX", "-v", "ON_ERROR_STOP=1", "-h", cairn.sockets, "-p", "5432", "-U", SUPERUSER,
                             "-d", BASELINE, "-c", copy]))
        ours.append(timed([CAIRN, "import", "csv", scratch / "ours.csv", "--org", "organization-1", "--profile",
                           "cairn", "--data-dir", cairn.data_dir]))
    return {"cairn": statistics.median(ours), "copy": statistics.median(copies)}


def measure_starts(data_dir, scratch, log, repeats):
    existing, memory = [], None
    for _ in range(repeats):
        with Cairn(data_dir, log) as cairn:
            existing.append(cairn.seconds_to_ready)
            time.sleep(1)  # what starts after readiness is part of an idle server
            memory = {"server_rss": memory_mib([cairn.pid], "Rss"), "stack_pss": memory_mib(tree(cairn.pid), "Pss")}
    first = []
    for number in range(repeats):
        with Cairn(scratch / f"empty{number}", log) as cairn:
            first.append(cairn.seconds_to_ready)
        shutil.rmtree(scratch / f"empty{number}")
    return {"existing": statistics.median(existing), "first": statistics.median(first)}, memory


# The report -----------------------------------------------------------------------------------------------------------

def median_of(samples, field):
    values = [value for sample in samples if (value := getattr(sample, field)) is not None]
    return statistics.median(values) if values else None


def summary(samples):
    cpu = {name: statistics.median(s.cpu[name] for s in samples) for name in samples[0].cpu}
    rates = [s.rate for s in samples]
    return {"rate": statistics.median(rates), "least": min(rates), "most": max(rates),
            "p50_ms": median_of(samples, "p50"), "p99_ms": median_of(samples, "p99"),
            "refused": sum(s.refused for s in samples), "clients": samples[0].clients,
            "others_percent": median_of(samples, "others"),
            "cpu_us": cpu, "capacity": 1e6 * os.cpu_count() / sum(cpu.values())}


def number(value, digits=1):
    return "-" if value is None else f"{value:,.{digits}f}"


def table(header, rows):
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        say("  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(row, widths))).rstrip())


def print_rates(cases, results):
    rows = []
    for case in cases:
        result = results[case.name]
        for who in ("cairn", "pgbench", "peer"):
            if who not in result:
                continue
            s = result[who]
            name = f"pgbench -c {s['clients']}" if who == "pgbench" else who
            ratio = [number(result["ratio"].get(other), 2) if who == "cairn" else "" for other in ("pgbench", "peer")]
            rows.append([case.title if who == "cairn" else "", name, number(s["rate"], 0),
                         f"{s['least']:,.0f}–{s['most']:,.0f}", number(s["p50_ms"], 2), number(s["p99_ms"], 2),
                         str(s["refused"]), *ratio,
                         *(number(s["cpu_us"].get(part)) for part in ("server", "postgres", "redis", "load")),
                         number(s["capacity"], 0), number(s["others_percent"], 0)])
    table(["case", "", "requests/s", "least–most", "p50 ms", "p99 ms", "failed", "x pgbench", "x peer", "server µs",
           "PostgreSQL µs", "Redis µs", "load µs", "CPU allows", "others %"], rows)


def goals(cases, report):
    """(what, measured, first foundation, goal) where more is better, or less when `at_most`."""
    found = []
    for case in cases:
        for other, limits in case.goals.items():
            measured = report["cases"][case.name]["ratio"].get(other)
            if limits and measured is not None:
                found.append((f"{case.title}, ratio to {other}", measured, *limits, False))
    if "import" in report:
        ratio = report["import"]["cairn"] / report["import"]["copy"]
        found.append(("import, times a plain COPY", ratio, 2, 1.2, True))
    if "start" in report:
        found.append(("start to ready, existing data, s", report["start"]["existing"], 1.5, 0.6, True))
        found.append(("start to ready, first start, s", report["start"]["first"], 8, 4, True))
        found.append(("idle server, RSS in MiB", report["memory"]["server_rss"], 40, 20, True))
        found.append(("idle stack, PSS in MiB", report["memory"]["stack_pss"], 110, 80, True))
    return found


def print_goals(found):
    def verdict(measured, limit, at_most):
        if limit is None:
            return ["-", ""]
        good = measured <= limit if at_most else measured >= limit
        return [("≤ " if at_most else "≥ ") + f"{limit:g}", "ok" if good else "miss"]

    table(["what", "", "measured", "first", "", "goal", ""],
          [[what, "", number(measured, 2), *verdict(measured, first, at_most), *verdict(measured, goal, at_most)]
           for what, measured, first, goal, at_most in found])


# The run --------------------------------------------------------------------------------------------------------------

def measure(cairn, cases, peer, options, scratch):
    targets = scratch / "targets"
    ours = {"TARGETS": str(targets), "TOKENS": str(scratch / "tokens"), "PREFIX": "/api/v1",
            "PAGE_QUERY": "status=todo&sort=due_date&limit=50", "COUNTS_PATH": "/counts"}
    theirs = {**ours, "TOKENS": str(scratch / "jwts"), "PREFIX": "", "PAGE_QUERY": "status=todo&limit=50",
              "COUNTS_PATH": "/stats"}
    make_sessions(cairn, scratch / "tokens")
    make_jwts(scratch / "jwts")
    samples = {case.name: {} for case in cases}

    say("Looking for the best number of pgbench clients")
    clients = {}
    for case in cases:
        rates = {count: pgbench(cairn, case.name, count, options.probe, options.tasks).rate for count in CLIENT_COUNTS}
        clients[case.name] = max(rates, key=rates.get)
        say(f"  {case.title}: " + ", ".join(f"{count}: {rate:,.0f}/s" for count, rate in rates.items()))

    for round_number in range(options.rounds):
        say(f"Round {round_number + 1} of {options.rounds}")
        for database in (DATABASE, BASELINE):  # what autovacuum would do sooner or later, at no one's expense
            cairn.psql(database, "-c", "VACUUM (ANALYZE) tasks", "-c", "CHECKPOINT")
        for case in cases:
            write_targets(cairn, DATABASE, options.tasks, targets)
            wrk(cairn.port, case.name, 1, ours, cairn.cpu, round_number + 1000)
            write_targets(cairn, DATABASE, options.tasks, targets)
            samples[case.name].setdefault("cairn", []).append(
                wrk(cairn.port, case.name, options.seconds, ours, cairn.cpu, round_number))
            samples[case.name].setdefault("pgbench", []).append(
                pgbench(cairn, case.name, clients[case.name], options.seconds, options.tasks))
        # The peer runs on its own: its connections and pgbench's together are more than PostgreSQL takes.
        if peer:
            refresh = lambda: write_targets(cairn, BASELINE, options.tasks, targets)
            for name, sample in peer.run(cairn, cases, options.seconds, theirs, refresh, round_number).items():
                samples[name].setdefault("peer", []).append(sample)

    results = {}
    for case in cases:
        result = {who: summary(taken) for who, taken in samples[case.name].items()}
        result["ratio"] = {other: result["cairn"]["rate"] / result[other]["rate"] for other in ("pgbench", "peer")
                           if other in result}
        results[case.name] = result
    return results


def machine():
    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], text=True, capture_output=True)
    return {"cpus": os.cpu_count(), "cpu": model[1] if model else platform.machine(), "kernel": platform.release(),
            "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20,
            "commit": commit.stdout.strip(), "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def arguments():
    parser = argparse.ArgumentParser(prog="bin/bench", description="Measures Cairn beside pgbench and a peer.")
    names = [case.name for case in CASES]
    parser.add_argument("--quick", action="store_true", help="100,000 tasks, 2 rounds of 3 s")
    parser.add_argument("--tasks", type=int, help="how many tasks (default 1,000,000)")
    parser.add_argument("--seconds", type=int, help="of each measurement (default 5)")
    parser.add_argument("--rounds", type=int, help="how often each is taken (default 3)")
    parser.add_argument("--only", action="append", choices=[*names, "import", "start"], help="one part; repeatable")
    parser.add_argument("--peers", type=pathlib.Path, help="directory with peers/fastify (default ../shared/bench)")
    parser.add_argument("--timing", action="store_true", help="only whether the time of answers tells of accounts")
    parser.add_argument("--scale", action="store_true", help="only whether reading the record slows down as it grows")
    parser.add_argument("--keep", action="store_true", help="keep the data directory and say where it is")
    options = parser.parse_args()
    options.tasks = options.tasks or (100_000 if options.quick else 1_000_000)
    options.seconds = options.seconds or (3 if options.quick else 5)
    options.rounds = options.rounds or (2 if options.quick else 3)
    options.probe = 1 if options.quick else 2
    options.peers = options.peers or ROOT.parent / "shared/bench"
    options.only = options.only or [*names, "import", "start"]
    return options


def run(options, scratch):
    cases = [case for case in CASES if case.name in options.only]
    report = {"machine": machine(), "tasks": options.tasks, "seconds": options.seconds, "rounds": options.rounds,
              "connections": CONNECTIONS, "cases": {}}
    peer = None
    if cases and (options.peers / "peers/fastify").is_dir():
        peer = Peer(options.peers, scratch)
    elif cases:
        say(f"There is no peers/fastify in {options.peers}: the peer is left out.")
    data_dir, log = scratch / "data", scratch / "cairn.log"
    with Cairn(data_dir, log) as cairn:
        say("Loading")
        load(cairn, options.tasks)
        if cases:
            report["cases"] = measure(cairn, cases, peer, options, scratch)
        if "import" in options.only:
            report["import"] = measure_import(cairn, scratch, options.rounds)
    if "start" in options.only:
        report["start"], report["memory"] = measure_starts(data_dir, scratch, log, options.rounds)
    return cases, report


def run_timing(scratch):
    with Cairn(scratch / "data", scratch / "cairn.log", *timing.SETTINGS) as cairn:
        report = {"machine": machine(), "samples": timing.SAMPLES, **timing.measure(cairn, DATABASE, say)}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "timing.json").write_text(json.dumps(report, indent=1) + "\n")


def run_scale(scratch):
    with Cairn(scratch / "data", scratch / "cairn.log") as cairn:
        say("Loading")
        load(cairn, 10_000)
        make_sessions(cairn, scratch / "tokens")
        cairn.psql(DATABASE, "-c", "SET app.system = 'bench'", "-c", "UPDATE user_organizations SET role = 'admin' "
                   "WHERE role <> 'owner' AND user_id IN (SELECT user_id FROM app.sessions)")
        tokens = dict(line.split() for line in (scratch / "tokens").read_text().splitlines())
        report = {"machine": machine(), **scale.measure(cairn, DATABASE, {int(n): token for n, token in tokens.items()},
                                                        uuid_of, say)}
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "scale.json").write_text(json.dumps(report, indent=1) + "\n")


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="cairn-bench-"))
    scratch.chmod(0o711)  # started by root, PostgreSQL runs as another user, who must pass through
    try:
        if options.timing:
            return run_timing(scratch)
        if options.scale:
            return run_scale(scratch)
        cases, report = run(options, scratch)
    finally:
        if options.keep:
            say(f"Kept {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    found = goals(cases, report)
    report["goals"] = [dict(zip(("what", "measured", "first", "goal", "at_most"), goal)) for goal in found]
    (RESULTS / "latest.json").write_text(json.dumps(report, indent=1) + "\n")
    (RESULTS / f"{report['machine']['time'].replace(':', '')}.json").write_text(json.dumps(report, indent=1) + "\n")
    say("")
    say(f"{report['tasks']:,} tasks, {CONNECTIONS} connections, {report['rounds']} rounds of {report['seconds']} s; "
        f"{report['machine']['cpus']} cores of {report['machine']['cpu']}; commit {report['machine']['commit']}")
    if cases:
        print_rates(cases, report["cases"])
        say("")
    if "import" in report:
        say(f"import of {IMPORT_ROWS:,} rows: {report['import']['cairn']:.2f} s; "
            f"COPY with the specification's trigger: {report['import']['copy']:.2f} s\n")
    print_goals(found)
    refused = sum(result[who]["refused"] for result in report["cases"].values() for who in result if who != "ratio")
    if refused:
        sys.exit(f"{refused} requests failed: the figures do not count")


if __name__ == "__main__":
    main()
