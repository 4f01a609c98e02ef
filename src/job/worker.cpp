#include "job/worker.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>

#include <algorithm>
#include <future>
#include <mutex>
#include <random>

#include "base/log.hpp"
#include "job/outbox.hpp"

namespace cairn::job {
namespace {

namespace asio = boost::asio;

// Longer than a transfer may take, so that a mail in progress is nobody else's.
constexpr std::int64_t lease_seconds = 120;
constexpr std::chrono::seconds poll_interval{1};
constexpr std::chrono::minutes redaction_interval{1};
constexpr std::int64_t first_retry = 15, last_retry = 60 * 60;

struct Taken {
  Taken() = default;
  Uuid id;
  std::optional<Email> to_address;  // empty: nobody, see app.request_reset
  std::string subject, body, kind;
  std::int32_t attempts = 0;
};
BOOST_DESCRIBE_STRUCT(Taken, (), (id, to_address, subject, body, kind, attempts))

const pg::Sql<void(std::string, Email, std::string, std::string, std::int64_t)> post_mail{"job.post_mail", R"sql(
  select app.post_mail($1, $2, $3, $4, make_interval(mins => $5::bigint::int)))sql"};

const pg::Sql<Taken(std::int64_t)> take_mail{"job.take_mail", R"sql(
  select id, to_address, subject, body, kind, attempts from app.take_mail(make_interval(secs => $1::bigint)))sql"};

const pg::Sql<void(Uuid)> mail_done{"job.mail_done", "select app.mail_done($1)"};

const pg::Sql<bool(Uuid, std::string, std::int64_t)> mail_failed{"job.mail_failed", R"sql(
  select app.mail_failed($1, $2, make_interval(secs => $3::bigint)))sql"};

const pg::Sql<bool()> redact_some{"job.redact_some", "select app.redact_some()"};

// The workers of this process.
struct Workers {
  std::mutex mutex;
  std::vector<Worker*> alive;
};
Workers& workers() {
  static Workers instance;
  return instance;
}

// Doubled each time, and spread so that what failed together is not tried together.
std::int64_t retry_seconds(std::int32_t attempts) {
  static thread_local std::minstd_rand random(std::random_device{}());
  const auto base = std::min(last_retry, first_retry << std::min(attempts - 1, 20));
  return std::uniform_int_distribution<std::int64_t>(base / 2, base + base / 2)(random);
}

// Whatever is done here is one statement.
pg::Settings only_commits(pg::Settings settings) {
  settings.commit_connections = 1;
  settings.read_connections = settings.write_connections = 0;
  settings.application_name = "cairn mail";
  return settings;
}

}  // namespace

async<> post(pg::Tx& tx, const Mail& mail) {
  co_await tx.run(post_mail, mail.kind, mail.to, mail.subject, mail.text, std::int64_t{mail.good_for.count()});
  tx.after_commit(&wake);
}

void wake() {
  const std::lock_guard lock(workers().mutex);
  for (auto* worker : workers().alive) worker->wake();
}

Worker::Worker(pg::Settings database, const Config& config)
    : database_(io_, only_commits(std::move(database))), pause_(io_), sender_(config) {}

Worker::~Worker() { stop(); }

void Worker::start() {
  auto begun = std::make_shared<std::promise<void>>();
  auto result = begun->get_future();
  const auto done = [begun](std::exception_ptr error) {
    if (error)
      begun->set_exception(error);
    else
      begun->set_value();
  };
  asio::co_spawn(io_, database_.start(), done);
  thread_ = std::thread([this] {
    const auto keep = asio::make_work_guard(io_);
    io_.run();
  });
  try {
    result.get();
  } catch (...) {
    io_.stop();
    thread_.join();
    throw;
  }
  asio::co_spawn(io_, work(), [this](std::exception_ptr) { io_.stop(); });
  const std::lock_guard lock(workers().mutex);
  workers().alive.push_back(this);
}

void Worker::stop() {
  {
    const std::lock_guard lock(workers().mutex);
    std::erase(workers().alive, this);
  }
  if (!thread_.joinable()) return;
  stopped_ = true;
  wake();
  thread_.join();
}

void Worker::wake() {
  asio::post(io_, [this] {
    woken_ = true;
    pause_.cancel();
  });
}

async<> Worker::work() {
  while (!stopped_) {
    bool more = false;
    try {
      more = co_await send_next();
      const auto now = std::chrono::steady_clock::now();
      if (!more && (woken_ || now - redacted_ >= redaction_interval)) {
        co_await redact();
        redacted_ = now;
      }
      away_ = false;
    } catch (const std::exception& error) {
      if (!std::exchange(away_, true)) log::warn("no mail can be sent without the database", {{"cause", error.what()}});
    }
    if (more || stopped_ || std::exchange(woken_, false)) continue;
    pause_.expires_after(poll_interval);
    boost::system::error_code woken;
    co_await pause_.async_wait(asio::redirect_error(awaiting, woken));
  }
  co_await database_.close();
}

async<> Worker::redact() {
  for (bool more = true; more && !stopped_;) {
    pg::Tx tx = database_.write();
    more = co_await tx.finish(redact_some);
  }
}

// Whether there was one.
async<bool> Worker::send_next() {
  pg::Tx taking = database_.write();
  const auto mail = co_await taking.maybe_finish(take_mail, lease_seconds);
  if (!mail) co_return false;

  std::string failure;
  if (mail->to_address) {
    Content content;
    content.id = mail->id.text();
    content.to = *mail->to_address;
    content.subject = mail->subject;
    content.text = mail->body;
    try {
      const auto file = sender_.send(content, mail->kind, [this] { return stopped_.load(); });
      if (!file.empty())
        log::info("a mail is in a file: no SMTP server is set", {{"kind", mail->kind}, {"file", file}});
    } catch (const std::exception& error) { failure = error.what(); }
  }

  pg::Tx tx = database_.write();
  if (failure.empty()) {
    co_await tx.finish(mail_done, mail->id);
    co_return true;
  }
  const auto seconds = stopped_ ? 0 : retry_seconds(mail->attempts);
  const bool again = co_await tx.finish(mail_failed, mail->id, failure, seconds);
  if (again)
    log::warn("a mail was not sent and will be tried again",
              {{"kind", mail->kind}, {"mail", mail->id.text()}, {"cause", failure}, {"seconds", seconds}});
  else
    log::error("a mail is given up",
               {{"kind", mail->kind}, {"mail", mail->id.text()}, {"cause", failure}, {"attempts", mail->attempts}});
  co_return true;
}

}  // namespace cairn::job
