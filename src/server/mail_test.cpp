// Mails as they arrive: at a real SMTP server, or in files.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <boost/json/serialize.hpp>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <thread>

#include "job/outbox.hpp"
#include "job/sender.hpp"
#include "support/smtp.hpp"
#include "support/stack.hpp"

namespace cairn {
namespace {

namespace fs = std::filesystem;
using support::SmtpServer;
using support::Stack;
using testing::HasSubstr;

// Where nothing else is.
class Directory {
 public:
  Directory() {
    std::string name = testing::TempDir() + "cairn-mail-XXXXXX";
    path = mkdtemp(name.data());
  }
  ~Directory() { fs::remove_all(path); }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  fs::path path;
};

// Sends to that server in the clear, as only a test may.
Stack::Adjust to(const std::string& url) {
  return [url](Config& config) {
    config.mail.url = url;
    config.mail.from = "Cairn <cairn@example.org>";
    config.mail.require_tls = false;
    config.mail.deliver = true;
  };
}

void post(support::Database& database, std::string_view subject, std::string_view good_for = "1 day") {
  database.run(fmt::format("select app.post_mail('test', 'ada@example.org', '{}', 'text', '{}')", subject, good_for));
  job::wake();
}

// Until the query yields the value; half a minute at most.
void wait_for(support::Database& database, const std::string& query, const std::string& value) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (database.value(query) != value && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(database.value(query), value) << query;
}

TEST(QueuedMails, ArriveAndAreGoneFromTheQueue) {
  SmtpServer smtp;
  const Stack stack(to(smtp.url()));
  auto database = stack.database();
  post(database, "Zażółć");
  const auto mail = smtp.next();
  EXPECT_EQ(mail.at("sender"), "cairn@example.org");
  EXPECT_EQ(boost::json::serialize(mail.at("to")), R"(["ada@example.org"])");
  EXPECT_THAT(std::string(mail.at("text").as_string()), HasSubstr("Subject: =?UTF-8?B?WmHFvMOzxYLEhw==?=\r\n"));
  wait_for(database, "select count(*) from app.mails", "0");
}

TEST(QueuedMails, WaitForTheTransactionThatCausesThem) {
  SmtpServer smtp;
  const Stack stack(to(smtp.url()));
  auto database = stack.database();
  database.run("begin");
  post(database, "kept back");
  post(database, "never meant");
  database.run("rollback");
  post(database, "meant");
  EXPECT_THAT(smtp.mail_for("ada@example.org"), HasSubstr("Subject: meant"));
  wait_for(database, "select count(*) from app.mails", "0");
  EXPECT_TRUE(smtp.silent());
}

TEST(QueuedMails, AreSentOnceByWhicheverServerTakesThem) {
  SmtpServer smtp;
  const Stack stack(to(smtp.url()));
  const auto other = stack.beside(to(smtp.url()));
  auto database = stack.database();
  database.run(
      "select app.post_mail('test', 'ada@example.org', 'n' || n, 'text', '1 day') from generate_series(1, 40) n");
  job::wake();
  std::set<std::string> subjects;
  for (int i = 0; i < 40; ++i) {
    const auto text = smtp.mail_for("ada@example.org");
    const auto at = text.find("Subject: ");
    subjects.insert(text.substr(at, text.find('\r', at) - at));
  }
  EXPECT_EQ(subjects.size(), 40u);
  wait_for(database, "select count(*) from app.mails", "0");
  EXPECT_TRUE(smtp.silent());
}

TEST(QueuedMails, ArriveOnceWhenTheServerIsBack) {
  const auto port = support::unused_port();
  const Stack stack(to(fmt::format("smtp://127.0.0.1:{}", port)));
  auto database = stack.database();
  post(database, "late");
  wait_for(database, "select count(*) from app.mails where attempts = 1 and last_error is not null", "1");
  // The next attempt is some seconds off, and no sooner for being asked.
  EXPECT_EQ(database.value("select next_attempt_at > now() + '5 seconds' from app.mails"), "t");
  SmtpServer smtp({"--port", std::to_string(port), "--busy", "1"});
  database.run("update app.mails set next_attempt_at = now()");
  job::wake();
  EXPECT_EQ(smtp.next().at("refused"), "ada@example.org");
  wait_for(database, "select count(*) from app.mails where attempts = 2 and last_error like '%451%'", "1");
  database.run("update app.mails set next_attempt_at = now()");
  job::wake();
  EXPECT_THAT(smtp.mail_for("ada@example.org"), HasSubstr("Subject: late"));
  wait_for(database, "select count(*) from app.mails", "0");
  EXPECT_TRUE(smtp.silent());
}

TEST(QueuedMails, AreGivenUpWhenTheyAreOfNoUseAnyMore) {
  const Stack stack(to(fmt::format("smtp://127.0.0.1:{}", support::unused_port())));
  auto database = stack.database();
  post(database, "short-lived", "1 second");
  wait_for(database, "select count(*) from app.mails", "0");
}

TEST(QueuedMails, AreTakenUpAgainWhenAWorkerDied) {
  SmtpServer smtp;
  const Stack stack(to(smtp.url()));
  auto database = stack.database();
  database.run(
      "begin; select app.post_mail('test', 'ada@example.org', 'leased', 'text', '1 day'); "
      "select app.take_mail('1 hour'); commit");
  job::wake();
  database.run("update app.mails set next_attempt_at = now()");
  job::wake();
  EXPECT_THAT(smtp.mail_for("ada@example.org"), HasSubstr("Subject: leased"));
}

TEST(QueuedMails, NeedAnActor) {
  const Stack stack;
  auto nobody = stack.app_database();
  EXPECT_EQ(nobody.failure("select app.post_mail('test', 'ada@example.org', 's', 'b', '1 day')"), "CA001");
  EXPECT_EQ(nobody.failure("select * from app.mails"), "42501");
}

TEST(Mails, AreFilesForTheServerAloneWithoutAnSmtpServer) {
  const Directory directory;
  const Stack stack([&](Config& config) {
    config.data_dir = directory.path / "data";
    config.mail.deliver = true;
  });
  auto database = stack.database();
  post(database, "into a file");
  wait_for(database, "select count(*) from app.mails", "0");
  const auto mails = directory.path / "data" / "mails";
  ASSERT_EQ(std::distance(fs::directory_iterator(mails), {}), 1);
  const auto file = fs::directory_iterator(mails)->path();
  EXPECT_THAT(file.filename().string(), testing::MatchesRegex(".*-test-.*\\.eml"));
  struct stat info {};
  ASSERT_EQ(stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(mails.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  std::ifstream stream(file);
  EXPECT_THAT(std::string(std::istreambuf_iterator<char>(stream), {}), HasSubstr("Subject: into a file\r\n"));
}

class ASecureServer : public testing::Test {
 protected:
  ASecureServer() {
    smtp.emplace(std::vector<std::string>{"--starttls", directory.path, "--user", "cairn", "the password"});
    config.mail.url = smtp->url();
    config.mail.from = "cairn@example.org";
    config.mail.ca_file = directory.path / "cert.pem";
    config.mail.user = "cairn";
    config.mail.password = Secret("the password");
    content.id = "1";
    content.to = Email::trusted("ada@example.org");
    content.subject = "s";
    content.text = "t";
  }
  std::string problem() {
    try {
      job::Sender(config).send(content, "test");
    } catch (const std::exception& error) { return error.what(); }
    return "none";
  }

  Directory directory;
  std::optional<SmtpServer> smtp;
  Config config;
  job::Content content;
};

TEST_F(ASecureServer, IsLoggedInToOverStarttls) {
  EXPECT_EQ(problem(), "none");
  const auto mail = smtp->next();
  EXPECT_EQ(mail.at("encrypted"), true);
  EXPECT_EQ(mail.at("user"), "cairn");
}

TEST_F(ASecureServer, GetsNothingFromWhoDoesNotTrustItsCertificate) {
  config.mail.ca_file.clear();
  EXPECT_THAT(problem(), HasSubstr("certificate"));
  EXPECT_TRUE(smtp->silent());
}

TEST_F(ASecureServer, RefusesAWrongPasswordWhichIsNotInTheMessage) {
  config.mail.password = Secret("another password");
  EXPECT_THAT(problem(), testing::AllOf(HasSubstr("Login denied"), testing::Not(HasSubstr("another"))));
}

TEST(Mails, AreNotSentToAServerWithoutTheEncryptionThatIsRequired) {
  SmtpServer smtp;
  Config config;
  config.mail.url = smtp.url();
  config.mail.from = "cairn@example.org";
  job::Content content;
  content.id = "1";
  content.to = Email::trusted("ada@example.org");
  EXPECT_THROW(job::Sender(config).send(content, "test"), std::runtime_error);
  EXPECT_TRUE(smtp.silent());
}

}  // namespace
}  // namespace cairn
