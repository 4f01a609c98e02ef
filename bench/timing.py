"""Whether the time of an answer tells which accounts exist; see docs/benchmark.md. Part of bench.py."""
import http.client
import json
import random
import statistics
import time

SAMPLES = 400  # of each
ACCOUNTS = 8   # of each kind
KINDS = ("known", "unknown", "suspended", "unverified")
PASSWORD = "correct horse battery staple"
# Without limits, and with mails, which are queued only: else an address that is taken is no secret (ADR 13).
SETTINGS = [word for limit in ("login", "mail", "account", "register") for word in (f"--limits-{limit}", "0")] + [
    "--mail-url", "smtp://127.0.0.1:9", "--mail-from", "cairn@example.org", "--mail-deliver", "false"]


def address(kind, number):
    return f"{kind:-<10}{number}@example.org"


class Asker:
    """One connection that is kept."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def post(self, path, body):
        """The status, the body without what differs each time, and the seconds that it took."""
        data = json.dumps(body).encode()
        begin = time.perf_counter()
        self.connection.request("POST", "/api/v1" + path, data,
                                {"Content-Type": "application/json", "X-Request-Id": "same-request-id"})
        reply = self.connection.getresponse()
        text = reply.read()
        return reply.status, text, time.perf_counter() - begin


def register(asker, email):
    status, text, seconds = asker.post("/accounts", {"email": email, "password": PASSWORD, "first_name": "A",
                                                     "last_name": "Person"})
    account = json.loads(text)
    for differs in ("id", "email", "created_at", "updated_at"):
        account.pop(differs, None)
    return status, json.dumps(account), seconds


QUESTIONS = {
    "login": lambda asker, email: asker.post("/sessions", {"email": email, "password": "not the password at all"}),
    "reset": lambda asker, email: asker.post("/password-resets", {"email": email}),
    "register": register,
}


def make_accounts(cairn, database):
    asker = Asker(cairn.port)
    for kind in KINDS:
        for number in range(ACCOUNTS):
            if kind != "unknown":
                status, text, _ = asker.post("/accounts", {"email": address(kind, number), "password": PASSWORD,
                                                           "first_name": "A", "last_name": "Person"})
                if status != 201:
                    raise RuntimeError(f"no account: {status} {text}")
    cairn.psql(database, "-c", "SET app.system = 'bench'",
               "-c", "UPDATE users SET email_verified = true WHERE email NOT LIKE 'unverified%'",
               "-c", "UPDATE users SET status = 'suspended' WHERE email LIKE 'suspended%'", "-c", "VACUUM (ANALYZE)")


def measure(cairn, database, say):
    """Interleaved and in random order, so that whatever else happens on the machine happens to all alike."""
    make_accounts(cairn, database)
    asker = Asker(cairn.port)
    asked = [(what, kind) for what in QUESTIONS for kind in KINDS for _ in range(SAMPLES + SAMPLES // 10)]
    random.shuffle(asked)
    taken = {what: {kind: [] for kind in KINDS} for what in QUESTIONS}
    answers = {what: set() for what in QUESTIONS}
    for number, (what, kind) in enumerate(asked):
        # Whoever registers is known from then on.
        new = what == "register" and kind == "unknown"
        email = f"{number:011}@example.org" if new else address(kind, random.randrange(ACCOUNTS))
        status, text, seconds = QUESTIONS[what](asker, email)
        answers[what].add((status, text))
        taken[what][kind].append(seconds)
    report = {}
    for what, kinds in taken.items():
        # The first are for warming up.
        medians = {kind: 1000 * statistics.median(seconds[-SAMPLES:]) for kind, seconds in kinds.items()}
        difference = 100 * (max(medians.values()) / min(medians.values()) - 1)
        report[what] = {"median_ms": medians, "difference_percent": difference, "answers": len(answers[what])}
        say(f"{what:8} " + "  ".join(f"{kind} {median:.3f} ms" for kind, median in medians.items()) +
            f"  largest difference {difference:.1f} % (goal 5 %)  different answers {len(answers[what])} (goal 1)")
    return report
