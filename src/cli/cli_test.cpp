// The commands of an operator, as they are typed.
#include "cli/cli.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include "support/letters.hpp"
#include "support/record.hpp"
#include "support/story.hpp"

namespace cairn {
namespace {

namespace bj = boost::json;
using namespace support;

class AnOperator : public testing::Test {
 protected:
  struct Outcome {
    int status = 0;
    std::string out, err;
  };
  Outcome type(std::vector<std::string> words) {
    words.insert(words.begin(), {"cairn", "admin"});
    words.push_back("--database-url=" + stack.owner_url());
    words.push_back("--base-url=https://cairn.example");
    std::vector<char*> arguments;
    for (auto& word : words) arguments.push_back(word.data());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    Outcome outcome;
    outcome.status = cli::run(static_cast<int>(arguments.size()), arguments.data());
    std::fflush(stdout);
    outcome.out = testing::internal::GetCapturedStdout();
    outcome.err = testing::internal::GetCapturedStderr();
    return outcome;
  }
  std::vector<std::string> ada(const std::string& more) {
    return {"create-user", "--email", "Ada@example.org", "--first-name", "Ada", "--last-name", "Lovelace", more};
  }
  bool logs_in() {
    return stack.client()
               .post("/sessions", fmt::format(R"({{"email":"ada@example.org","password":"{}"}})", Stack::password))
               .status == 201;
  }
  void set_password() {
    const auto token = token_of(last_mail(database, "ada@example.org"));
    EXPECT_EQ(stack.client()
                  .post("/password-resets/complete",
                        fmt::format(R"({{"token":"{}","password":"{}"}})", token, Stack::password))
                  .status,
              204u);
  }

  const Stack stack;
  Database database = stack.database();
};

TEST_F(AnOperator, MakesAnAdministratorWhoSetsTheirOwnPassword) {
  auto words = ada("--json");
  words.insert(words.end(), {"--role", "admin", "--verified"});
  const auto made_user = type(words);
  ASSERT_EQ(made_user.status, 0) << made_user.err;
  const auto user = bj::parse(made_user.out);
  EXPECT_EQ(text_of(user, "email"), "ada@example.org");
  EXPECT_EQ(text_of(user, "role"), "admin");
  EXPECT_EQ(text_of(user, "email_verified"), "true");
  EXPECT_TRUE(text_of(user, "link").starts_with("https://cairn.example/reset?token="));
  EXPECT_EQ(token_of(text_of(user, "link")), token_of(last_mail(database, "ada@example.org")));
  EXPECT_FALSE(logs_in());
  set_password();
  EXPECT_TRUE(logs_in());
  EXPECT_EQ(record_problems(database), std::vector<std::string>{});
  EXPECT_EQ(database.value("select count(*) from audit_logs where metadata->>'actor' = 'system:cli' "
                           "and metadata->>'request_id' <> '' and user_agent = 'cairn admin'"),
            "3");
}

TEST_F(AnOperator, SuspendsReactivatesAndResets) {
  type(ada("--verified"));
  set_password();
  EXPECT_TRUE(logs_in());
  const auto suspended = type({"suspend", "ADA@example.org"});
  EXPECT_EQ(suspended.status, 0) << suspended.err;
  EXPECT_NE(suspended.out.find("suspended"), std::string::npos);
  EXPECT_FALSE(logs_in());
  EXPECT_EQ(type({"reset-password", "ada@example.org"}).status, 1);
  EXPECT_EQ(type({"reactivate", "ada@example.org"}).status, 0);
  EXPECT_TRUE(logs_in());
  EXPECT_NE(type({"reset-password", "ada@example.org"}).out.find("https://cairn.example/reset?token="),
            std::string::npos);
  EXPECT_TRUE(logs_in());
  set_password();
}

TEST_F(AnOperator, GivesRolesAndKeepsTheLastAdministrator) {
  type(ada("--verified"));
  EXPECT_EQ(text_of(bj::parse(type({"promote", "ada@example.org", "--json"}).out), "role"), "admin");
  const auto demoted = type({"promote", "ada@example.org", "--role", "user"});
  EXPECT_EQ(demoted.status, 1);
  EXPECT_NE(demoted.err.find("must keep an administrator"), std::string::npos) << demoted.err;
  EXPECT_EQ(type({"suspend", "ada@example.org"}).status, 1);
  stack.person("bob");
  EXPECT_EQ(type({"promote", "bob@example.org", "--role", "manager"}).status, 0);
  EXPECT_EQ(database.rows("select role, status from users order by email"),
            (Database::Rows{{"admin", "active"}, {"manager", "active"}}));
}

TEST_F(AnOperator, TakesOffASecondFactorThatIsLost) {
  const auto bob = stack.person("bob");
  const auto password = fmt::format(R"("password":"{}")", Stack::password);
  const auto secret = text_of(bob->post("/me/totp", "{" + password + "}"), "secret");
  EXPECT_EQ(bob->post("/me/totp/confirm", fmt::format(R"({{"code":"{}"}})", totp_code(secret))).status, 200u);
  const auto log_in = [&] {
    return stack.client().post("/sessions", R"({"email":"bob@example.org",)" + password + "}").status;
  };
  EXPECT_EQ(log_in(), 401u);
  EXPECT_EQ(type({"remove-second-factor", "bob@example.org"}).status, 0);
  EXPECT_EQ(log_in(), 201u);
  EXPECT_EQ(bob->get("/me").status, 401u);
}

TEST_F(AnOperator, ReadsTheRecord) {
  stack.person("bob");
  type({"suspend", "bob@example.org"});
  const auto shown = type({"record", "bob@example.org", "--limit", "2"}).out;
  EXPECT_EQ(std::count(shown.begin(), shown.end(), '\n'), 2);
  EXPECT_NE(shown.find("update users "), std::string::npos) << shown;
  EXPECT_NE(shown.find("system:cli"), std::string::npos) << shown;
  const auto lines = type({"record", "--json"}).out;
  EXPECT_EQ(std::to_string(std::count(lines.begin(), lines.end(), '\n')),
            database.value("select count(*) from audit_logs"));
  EXPECT_EQ(text_of(bj::parse(lines.substr(0, lines.find('\n'))), "action"), "create");
  EXPECT_EQ(type({"record", "--since", "9999-01-01"}).out, "");
  EXPECT_EQ(type({"record", "--since", "yesterday, or so"}).status, 1);
  EXPECT_EQ(type({"record", "nobody@example.org"}).status, 1);
}

TEST_F(AnOperator, ListsAccounts) {
  for (const auto* name : {"bob", "bea", "carl"}) stack.person(name);
  type({"suspend", "carl@example.org"});
  const auto listed = bj::parse(type({"list-users", "--json"}).out).as_array();
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(text_of(listed[0], "email"), "bea@example.org");
  EXPECT_EQ(bj::parse(type({"list-users", "--json", "--email", "B"}).out).as_array().size(), 2u);
  EXPECT_EQ(bj::parse(type({"list-users", "--json", "--role", "admin"}).out).as_array().size(), 0u);
  const auto text = type({"list-users", "--status", "suspended"}).out;
  EXPECT_NE(text.find("carl@example.org"), std::string::npos);
  EXPECT_EQ(text.find("bob@example.org"), std::string::npos);
}

TEST_F(AnOperator, IsToldWhatIsWrong) {
  EXPECT_EQ(type({"suspend", "nobody@example.org"}).status, 1);
  EXPECT_EQ(type({"create-user", "--email", "no address", "--first-name", "A", "--last-name", "B"}).status, 2);
  EXPECT_EQ(type({"create-user", "--email", "a@example.org", "--first-name", " ", "--last-name", "B"}).status, 2);
  EXPECT_EQ(type({"promote", "a@example.org", "--role", "owner"}).status, 2);
  EXPECT_EQ(type({"create-user"}).status, 2);
  EXPECT_EQ(type({}).status, 2);
  type(ada("--verified"));
  const auto again = type(ada("--verified"));
  EXPECT_EQ(again.status, 1);
  EXPECT_NE(again.err.find("has an account already"), std::string::npos) << again.err;
  EXPECT_EQ(database.value("select count(*) from users"), "1");
}

}  // namespace
}  // namespace cairn
