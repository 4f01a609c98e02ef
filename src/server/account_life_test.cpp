// The life of an account, from the first administrator to the last goodbye, as stories over HTTP.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include <latch>
#include <thread>

#include "account/setup.hpp"
#include "account/totp.hpp"
#include "support/letters.hpp"
#include "support/smtp.hpp"
#include "support/stack.hpp"

namespace cairn {
namespace {

using support::Client;
using support::last_mail;
using support::Reply;
using support::Stack;
using support::text_of;
using support::token_of;
using support::totp_code;
using support::totp_secret;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view new_password = "another horse in the stable";

std::string code(const Reply& reply) { return text_of(reply, "code"); }
std::string field_code(const Reply& reply) { return text_of(reply.json().at("errors").at(0), "code"); }

Reply log_in(Client& client, std::string_view email, std::string_view password, std::string_view more = "") {
  return client.post("/sessions", fmt::format(R"({{"email":"{}","password":"{}"{}}})", email, password, more));
}
Reply register_as(Client& client, std::string_view email, std::string_view password = Stack::password) {
  return client.post("/accounts", fmt::format(R"({{"email":"{}","password":"{}","first_name":"A","last_name":"B"}})",
                                              email, password));
}
Reply ask_for_reset(Client& client, std::string_view email) {
  return client.post("/password-resets", fmt::format(R"({{"email":"{}"}})", email));
}
Reply reset(Client& client, std::string_view token, std::string_view password = new_password) {
  return client.post("/password-resets/complete", fmt::format(R"({{"token":"{}","password":"{}"}})", token, password));
}
Reply verify(Client& client, std::string_view token) {
  return client.post("/verifications", fmt::format(R"({{"token":"{}"}})", token));
}
std::string essence(const Reply& reply) {
  auto body = reply.body;
  if (reply.status >= 400) {
    auto object = reply.json();
    object.as_object().erase("request_id");
    body = boost::json::serialize(object);
  }
  return fmt::format("{} {}", reply.status, body);
}

class AnAccount : public testing::Test {
 protected:
  // The token of the newest link that was mailed there.
  std::string mailed(std::string_view email = "ada@example.org") { return token_of(last_mail(database, email)); }
  std::string count(std::string_view what) { return database.value(fmt::format("select count(*) from {}", what)); }

  const Stack stack;
  support::Database database = stack.database();
  std::unique_ptr<Client> ada = stack.person("ada");
  Client anyone = stack.client();
};

// -- verification

TEST_F(AnAccount, IsVerifiedByTheTokenOfItsMailOnce) {
  EXPECT_EQ(text_of(ada->get("/me"), "email_verified"), "false");
  const auto token = mailed();
  EXPECT_EQ(token.size(), 43u);
  EXPECT_EQ(verify(anyone, token).status, 204u);
  EXPECT_EQ(text_of(ada->get("/me"), "email_verified"), "true");
  const auto again = verify(anyone, token);
  EXPECT_EQ(again.status, 422u);
  EXPECT_EQ(field_code(again), "invalid_token");
  const auto resent = ada->send("POST", "/me/verification");
  EXPECT_EQ(resent.status, 409u);
  EXPECT_EQ(code(resent), "already_verified");
}

TEST_F(AnAccount, IsVerifiedByTheNewestMailOnly) {
  const auto first = mailed();
  EXPECT_EQ(ada->send("POST", "/me/verification").status, 204u);
  const auto second = mailed();
  EXPECT_NE(first, second);
  EXPECT_EQ(verify(anyone, first).status, 422u);
  EXPECT_EQ(verify(anyone, second).status, 204u);
}

TEST_F(AnAccount, IsNotVerifiedByATokenThatExpiredOrIsForSomethingElse) {
  const auto token = mailed();
  ask_for_reset(anyone, "ada@example.org");
  const auto for_reset = mailed();
  EXPECT_EQ(verify(anyone, for_reset).status, 422u);
  EXPECT_EQ(reset(anyone, token).status, 422u);
  database.run("update app.mail_tokens set expires_at = now()");
  EXPECT_EQ(verify(anyone, token).status, 422u);
  EXPECT_EQ(reset(anyone, for_reset).status, 422u);
}

TEST_F(AnAccount, IsVerifiedWithoutRedisAndNotByWhatRedisRemembers) {
  const auto token = mailed();
  ask_for_reset(anyone, "ada@example.org");
  const auto for_reset = mailed();
  const auto keys = support::redis({"KEYS", "reset:password:*"});
  ASSERT_FALSE(keys.empty());
  support::redis({"FLUSHALL"});
  EXPECT_EQ(verify(anyone, token).status, 204u);
  EXPECT_EQ(reset(anyone, for_reset).status, 204u);
  for (const auto& key : keys) support::redis({"SET", key, "1", "EX", "1800"});
  EXPECT_EQ(reset(anyone, for_reset).status, 422u);
}

// -- reset

TEST_F(AnAccount, GetsANewPasswordByTheTokenOfAMailOnceAndNobodyIsLoggedIn) {
  EXPECT_EQ(ask_for_reset(anyone, "ADA@example.org").status, 204u);
  const auto token = mailed();
  EXPECT_EQ(field_code(reset(anyone, token, "short")), "too_short");
  EXPECT_EQ(field_code(reset(anyone, token, "password12345678")), "too_common");
  const auto done = reset(anyone, token);
  EXPECT_EQ(done.status, 204u);
  EXPECT_EQ(done.body, "");
  EXPECT_EQ(ada->get("/me").status, 401u);
  EXPECT_EQ(field_code(reset(anyone, token)), "invalid_token");
  EXPECT_EQ(log_in(anyone, "ada@example.org", Stack::password).status, 401u);
  EXPECT_EQ(log_in(anyone, "ada@example.org", new_password).status, 201u);
  EXPECT_EQ(count("app.mails where kind = 'notice' and to_address = 'ada@example.org'"), "1");
  EXPECT_EQ(count("audit_logs where action = 'update' and new_values->>'password_hash' = '[changed]'"), "1");
  EXPECT_EQ(count("audit_logs where metadata->>'event' = 'password_reset_requested'"), "1");
}

TEST_F(AnAccount, IsResetByOneOfManyAtOnce) {
  ask_for_reset(anyone, "ada@example.org");
  const auto token = mailed();
  constexpr unsigned many = 8;
  std::latch start(many);
  std::array<unsigned, many> status{};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < many; ++i)
    threads.emplace_back([&, i] {
      auto client = stack.client();
      start.arrive_and_wait();
      status[i] = reset(client, token, fmt::format("horse number {} in the stable", i)).status;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::count(status.begin(), status.end(), 204u), 1);
  EXPECT_EQ(std::count(status.begin(), status.end(), 422u), many - 1);
}

TEST_F(AnAccount, ThatDoesNotExistOrIsSuspendedIsAnsweredLikeOneThatDoes) {
  stack.person("bob");
  database.run("update users set status = 'suspended' where email = 'bob@example.org'");
  database.run("delete from app.mails");
  const auto known = ask_for_reset(anyone, "ada@example.org");
  EXPECT_EQ(known.status, 204u);
  for (const auto* email : {"bob@example.org", "nobody@example.org"})
    EXPECT_EQ(essence(ask_for_reset(anyone, email)), essence(known)) << email;
  // The same work was done for all, but only one mail goes out.
  EXPECT_EQ(count("app.mails"), "3");
  EXPECT_EQ(database.value("select string_agg(to_address, ' ') from app.mails"), "ada@example.org");
  EXPECT_EQ(count("audit_logs where metadata->>'event' = 'password_reset_requested'"), "3");
  EXPECT_EQ(count("audit_logs a where a::text like '%nobody@%'"), "0");
}

TEST_F(AnAccount, LosesItsTokensWithItsPasswordAddressOrStatus) {
  for (const auto* change : {"password_hash = '!'", "email = 'ada2@example.org'", "status = 'suspended'"}) {
    SCOPED_TRACE(change);
    ask_for_reset(anyone, "ada@example.org");
    const auto token = mailed();
    database.run(
        fmt::format("begin; update users set {} where email = 'ada@example.org'; "
                    "update users set email = 'ada@example.org', status = 'active'; commit",
                    change));
    EXPECT_EQ(reset(anyone, token).status, 422u);
  }
}

TEST_F(AnAccount, GetsLinksThatLeadWhereTheOperatorSaidWhateverTheRequestSays) {
  const auto served = stack.beside([](Config& config) { config.server.base_url = "https://cairn.example.org"; });
  auto client = served->client();
  client.send("POST", "/password-resets", R"({"email":"ada@example.org"})",
              {"X-Forwarded-Host: evil.example", "Forwarded: host=evil.example", "Origin: https://evil.example"});
  EXPECT_THAT(last_mail(database, "ada@example.org"), HasSubstr("\nhttps://cairn.example.org/reset?token="));
  EXPECT_THAT(last_mail(database, "ada@example.org"), Not(HasSubstr("evil")));
  ask_for_reset(anyone, "ada@example.org");
  EXPECT_THAT(last_mail(database, "ada@example.org"),
              HasSubstr(fmt::format("\nhttp://127.0.0.1:{}/reset?token=", stack.port())));
}

TEST(AMailedLink, ArrivesByRealMailAndWorksOnce) {
  support::SmtpServer smtp;
  const Stack stack([&](Config& config) {
    config.mail.url = smtp.url();
    config.mail.from = "cairn@example.org";
    config.mail.require_tls = false;
    config.mail.deliver = true;
  });
  auto anyone = stack.client();
  EXPECT_EQ(register_as(anyone, "ada@example.org").status, 201u);
  EXPECT_EQ(log_in(anyone, "ada@example.org", Stack::password).status, 401u);
  EXPECT_EQ(verify(anyone, token_of(smtp.mail_for("ada@example.org"))).status, 204u);
  EXPECT_EQ(log_in(anyone, "ada@example.org", Stack::password).status, 201u);
  EXPECT_EQ(ask_for_reset(anyone, "nobody@example.org").status, 204u);
  EXPECT_EQ(ask_for_reset(anyone, "Ada@Example.org").status, 204u);
  const auto token = token_of(smtp.mail_for("ada@example.org"));
  EXPECT_EQ(reset(anyone, token).status, 204u);
  EXPECT_EQ(reset(anyone, token).status, 422u);
  EXPECT_THAT(smtp.mail_for("ada@example.org"), HasSubstr("password of your account was reset"));
  EXPECT_EQ(log_in(anyone, "ada@example.org", new_password).status, 201u);
}

// -- registering where mails go out

class ARegistration : public testing::Test {
 protected:
  std::string count(std::string_view what) { return database.value(fmt::format("select count(*) from {}", what)); }
  // All of a reply that may not tell one from another.
  static std::string shape(const Reply& reply) {
    auto object = reply.json().as_object();
    EXPECT_EQ(object.at("created_at"), object.at("updated_at"));
    for (const auto* differs : {"id", "email", "created_at", "updated_at"}) object.at(differs) = nullptr;
    std::string text = fmt::format("{} {}", reply.status, boost::json::serialize(object));
    for (const auto& [name, value] : reply.headers)
      if (name != "date" && name != "x-request-id" && name != "ratelimit") text += fmt::format("\n{}: {}", name, value);
    return text;
  }

  const Stack stack{[](Config& config) { config.mail.url = "smtp://127.0.0.1:1"; }};
  support::Database database = stack.database();
  Client anyone = stack.client();
};

TEST_F(ARegistration, DoesNotTellWhetherAnAddressHasAnAccount) {
  const auto first = register_as(anyone, "ada@example.org");
  EXPECT_EQ(first.status, 201u);
  const auto token = token_of(last_mail(database, "ada@example.org"));
  const auto again = register_as(anyone, "ADA@example.org", new_password);
  EXPECT_EQ(shape(again), shape(first));
  EXPECT_EQ(text_of(again, "email"), "ada@example.org");
  EXPECT_EQ(count("users"), "1");
  const auto mail = last_mail(database, "ada@example.org");
  EXPECT_THAT(mail, HasSubstr("has an account already"));
  EXPECT_EQ(token_of(mail), "");

  const auto refused = log_in(anyone, "ada@example.org", Stack::password);
  EXPECT_EQ(refused.status, 401u);
  for (const auto* email : {"ada@example.org", "nobody@example.org"})
    EXPECT_EQ(essence(log_in(anyone, email, new_password)), essence(refused)) << email;
  EXPECT_EQ(verify(anyone, token).status, 204u);
  EXPECT_EQ(log_in(anyone, "ada@example.org", Stack::password).status, 201u);
  EXPECT_EQ(log_in(anyone, "ada@example.org", new_password).status, 401u);

  EXPECT_EQ(shape(register_as(anyone, "ada@example.org")), shape(first));
  EXPECT_EQ(count("audit_logs where metadata->>'event' = 'registration_refused'"), "2");
  database.run("update users set status = 'suspended'; delete from app.mails");
  EXPECT_EQ(shape(register_as(anyone, "ada@example.org")), shape(first));
  EXPECT_EQ(count("app.mails"), "0");
}

TEST_F(ARegistration, IsConfirmedByANewPasswordToo) {
  register_as(anyone, "ada@example.org");
  EXPECT_EQ(ask_for_reset(anyone, "ada@example.org").status, 204u);
  EXPECT_EQ(reset(anyone, token_of(last_mail(database, "ada@example.org"))).status, 204u);
  EXPECT_EQ(log_in(anyone, "ada@example.org", new_password).status, 201u);
}

TEST_F(ARegistration, OfOneAddressByManyAtOnceMakesOneAccount) {
  constexpr unsigned many = 8;
  std::latch start(many);
  std::array<unsigned, many> status{};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < many; ++i)
    threads.emplace_back([&, i] {
      auto client = stack.client();
      start.arrive_and_wait();
      status[i] = register_as(client, "ada@example.org").status;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::count(status.begin(), status.end(), 201u), many);
  EXPECT_EQ(count("users"), "1");
}

// -- changes that need the password again

TEST_F(AnAccount, ChangesItsPasswordAndStaysLoggedInHereOnly) {
  const auto other = stack.with_token(text_of(log_in(anyone, "ada@example.org", Stack::password), "token"));
  const auto change = [&](std::string_view current, std::string_view next) {
    return ada->post("/me/password", fmt::format(R"({{"current_password":"{}","new_password":"{}"}})", current, next));
  };
  const auto wrong = change("not my password", new_password);
  EXPECT_EQ(wrong.status, 422u);
  EXPECT_EQ(field_code(wrong), "wrong_password");
  EXPECT_EQ(count("audit_logs where metadata->>'outcome' = 'failure' and user_id is not null"), "1");
  EXPECT_EQ(field_code(change(Stack::password, "qwertyuiop123456")), "too_common");
  EXPECT_EQ(field_code(change(Stack::password, "write to ada@example.org")), "contains_email");
  const auto end = database.value("select max(expires_at) from app.sessions where token_hash is not null");
  EXPECT_EQ(change(Stack::password, new_password).status, 204u);
  EXPECT_EQ(ada->get("/me").status, 200u);
  EXPECT_EQ(other->get("/me").status, 401u);
  EXPECT_EQ(count("app.sessions"), "1");
  EXPECT_EQ(database.value(fmt::format("select max(expires_at) <= '{}' from app.sessions", end)), "t");
  EXPECT_EQ(log_in(anyone, "ada@example.org", new_password).status, 201u);
}

TEST_F(AnAccount, ChangesItsAddressWhenTheNewOneIsConfirmed) {
  const auto change = [&](std::string_view email, std::string_view password = Stack::password) {
    return ada->post("/me/email", fmt::format(R"({{"email":"{}","password":"{}"}})", email, password));
  };
  EXPECT_EQ(field_code(change("ada.new@example.org", "wrong")), "wrong_password");
  EXPECT_EQ(field_code(change("ADA@example.org")), "unchanged");
  EXPECT_EQ(change("ada.new@example.org").status, 204u);
  EXPECT_EQ(text_of(ada->get("/me"), "email"), "ada@example.org");
  EXPECT_EQ(count("app.mails where kind = 'notice' and to_address = 'ada@example.org'"), "1");
  const auto token = mailed("ada.new@example.org");
  EXPECT_EQ(verify(anyone, token).status, 204u);
  // Whoever had a session before has to log in again.
  EXPECT_EQ(ada->get("/me").status, 401u);
  const auto login = log_in(anyone, "ada.new@example.org", Stack::password);
  EXPECT_EQ(text_of(login.json().at("account"), "email_verified"), "true");
  EXPECT_EQ(log_in(anyone, "ada@example.org", Stack::password).status, 401u);
}

TEST_F(AnAccount, DoesNotLearnWhetherAnAddressIsTaken) {
  stack.person("bob");
  const auto change = [&](std::string_view email) {
    return ada->post("/me/email", fmt::format(R"({{"email":"{}","password":"{}"}})", email, Stack::password));
  };
  EXPECT_EQ(essence(change("bob@example.org")), essence(change("free@example.org")));
  EXPECT_EQ(change("bob@example.org").status, 204u);
  // Only who reads bob's mail could know.
  const auto confirmed = verify(anyone, mailed("bob@example.org"));
  EXPECT_EQ(confirmed.status, 409u);
  EXPECT_EQ(code(confirmed), "email_taken");
}

TEST_F(AnAccount, IsHashedAnewAtLoginWhenHashingHasBecomeDearerAndKeepsItsSessions) {
  const auto hash = database.value("select password_hash from users");
  const auto dearer = stack.beside([](Config& config) { config.password.iterations = 2; });
  auto client = dearer->client();
  EXPECT_EQ(log_in(client, "ada@example.org", Stack::password).status, 201u);
  const auto rehashed = database.value("select password_hash from users");
  EXPECT_THAT(rehashed, HasSubstr("t=2"));
  EXPECT_NE(rehashed, hash);
  EXPECT_EQ(ada->get("/me").status, 200u);
  EXPECT_EQ(log_in(client, "ada@example.org", Stack::password).status, 201u);
  EXPECT_EQ(database.value("select password_hash from users"), rehashed);
}

TEST_F(AnAccount, ThatIsSuspendedIsRefusedAtTheNextRequestOnEveryServer) {
  const auto other = stack.beside();
  const auto there = other->with_token(ada->token);
  for (const auto* status : {"suspended", "inactive"}) {
    EXPECT_EQ(ada->get("/me").status, 200u);
    EXPECT_EQ(there->get("/me").status, 200u);
    database.run(fmt::format("update users set status = '{}'", status));
    EXPECT_EQ(ada->get("/me").status, 401u);
    EXPECT_EQ(there->get("/me").status, 401u);
    EXPECT_EQ(code(log_in(anyone, "ada@example.org", Stack::password)), "invalid_credentials");
    database.run("update users set status = 'active'");
    EXPECT_EQ(ada->get("/me").status, 401u);
    ada->token = there->token = text_of(log_in(anyone, "ada@example.org", Stack::password), "token");
  }
}

// -- the second factor

class ASecondFactor : public AnAccount {
 protected:
  ASecondFactor() {
    const auto begun = ada->post("/me/totp", fmt::format(R"({{"password":"{}"}})", Stack::password));
    secret = text_of(begun, "secret");
    EXPECT_EQ(text_of(begun, "otpauth_uri"),
              "otpauth://totp/Cairn:ada%40example.org?secret=" + secret + "&issuer=Cairn");
    EXPECT_EQ(text_of(ada->get("/me/totp"), "enabled"), "false");
    confirmed_with = totp_code(secret);
    const auto confirmed = ada->post("/me/totp/confirm", fmt::format(R"({{"code":"{}"}})", confirmed_with));
    EXPECT_EQ(confirmed.status, 200u) << confirmed.body;
    const auto codes = confirmed.json();
    for (const auto& one : codes.at("recovery_codes").as_array()) recovery.emplace_back(one.as_string());
  }
  Reply log_in_with(std::string_view second) {
    return log_in(anyone, "ada@example.org", Stack::password, fmt::format(R"(,"code":"{}")", second));
  }

  // Good, and later than the one that confirmed it.
  std::string next_code() const { return totp_code(secret, 1); }

  std::string secret, confirmed_with;
  std::vector<std::string> recovery;
};

TEST_F(ASecondFactor, IsAskedForAfterTheRightPasswordOnly) {
  EXPECT_EQ(code(log_in(anyone, "ada@example.org", "wrong")), "invalid_credentials");
  EXPECT_EQ(code(log_in(anyone, "ada@example.org", "wrong", R"(,"code":"123456")")), "invalid_credentials");
  const auto without = log_in(anyone, "ada@example.org", Stack::password);
  EXPECT_EQ(without.status, 401u);
  EXPECT_EQ(code(without), "totp_required");
  const auto wrong = log_in_with("abcdef");
  EXPECT_EQ(wrong.status, 401u);
  EXPECT_EQ(code(wrong), "invalid_code");
  EXPECT_EQ(log_in_with(next_code()).status, 201u);
  EXPECT_EQ(text_of(ada->get("/me/totp"), "enabled"), "true");
  const auto record = ada->get("/me/audit?limit=200").body;
  for (const auto* entry :
       {R"("event":"second_factor_added")", R"("outcome":"failure")", R"("outcome":"code_missing")"})
    EXPECT_THAT(record, HasSubstr(entry));
}

TEST_F(ASecondFactor, TakesEachCodeOnce) {
  const auto given = next_code();
  EXPECT_EQ(log_in_with(given).status, 201u);
  EXPECT_EQ(code(log_in_with(given)), "invalid_code");
  // The one that confirmed it lies before.
  EXPECT_EQ(code(log_in_with(next_code())), "invalid_code");
}

TEST_F(ASecondFactor, TakesEachRecoveryCodeOnce) {
  ASSERT_EQ(recovery.size(), 10u);
  EXPECT_THAT(recovery[0], testing::MatchesRegex("([A-Z2-7]{4}-){3}[A-Z2-7]{4}"));
  EXPECT_EQ(log_in_with(recovery[3]).status, 201u);
  EXPECT_EQ(code(log_in_with(recovery[3])), "invalid_code");
  EXPECT_EQ(text_of(ada->get("/me/totp"), "recovery_codes_left"), "9");
}

TEST_F(ASecondFactor, IsLockedByTenWrongCodesHoweverTheyCome) {
  constexpr unsigned many = 16;
  std::array<unsigned, many> status{};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < many; ++i)
    threads.emplace_back([&, i] {
      auto client = stack.client();
      status[i] = log_in(client, "ada@example.org", Stack::password, R"(,"code":"wrong1")").status;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::count(status.begin(), status.end(), 401u), 10);
  EXPECT_EQ(std::count(status.begin(), status.end(), 429u), many - 10);
  const auto locked = log_in_with(next_code());
  EXPECT_EQ(locked.status, 429u);
  EXPECT_EQ(code(locked), "totp_locked");
  EXPECT_GT(std::stoi(locked.header("retry-after")), 880);
  // Nobody without the password learns of it.
  EXPECT_EQ(code(log_in(anyone, "ada@example.org", "wrong", R"(,"code":"123456")")), "invalid_credentials");
  database.run("update app.second_factors set locked_until = now()");
  EXPECT_EQ(log_in_with(next_code()).status, 201u);
}

TEST_F(ASecondFactor, IsRemovedByWhoHasPasswordAndCode) {
  const auto remove = [&](std::string_view password, std::string_view second) {
    return ada->post("/me/totp/removal", fmt::format(R"({{"password":"{}","code":"{}"}})", password, second));
  };
  EXPECT_EQ(code(ada->post("/me/totp", fmt::format(R"({{"password":"{}"}})", Stack::password))), "totp_enabled");
  EXPECT_EQ(field_code(remove("wrong", next_code())), "wrong_password");
  EXPECT_EQ(field_code(remove(Stack::password, "abcdef")), "invalid_code");
  EXPECT_EQ(remove(Stack::password, next_code()).status, 204u);
  EXPECT_EQ(log_in(anyone, "ada@example.org", Stack::password).status, 201u);
  EXPECT_EQ(code(remove(Stack::password, next_code())), "totp_not_enabled");
}

TEST_F(ASecondFactor, KeepsItsSecretsOffTheRecord) {
  log_in_with(recovery[0]);
  std::string record;
  for (const auto& row : database.rows("select a::text from audit_logs a")) record += row[0];
  EXPECT_THAT(record, Not(HasSubstr(secret)));
  EXPECT_THAT(record, Not(HasSubstr(recovery[0])));
  EXPECT_THAT(record, Not(HasSubstr(database.value("select encode(secret, 'hex') from app.second_factors"))));
  auto app = stack.app_database();
  EXPECT_EQ(app.failure("select * from app.second_factors"), "42501");
  EXPECT_EQ(app.failure("select * from app.recovery_codes"), "42501");
  EXPECT_EQ(app.failure("select * from app.mail_tokens"), "42501");
}

TEST_F(ASecondFactor, HasASecretThatTheDatabaseAloneDoesNotTell) {
  const auto stored = [&] { return database.value("select encode(secret, 'hex') from app.second_factors"); };
  EXPECT_EQ(stored().size(), 120u);
  // Of before they were sealed: works, and is sealed then.
  std::string plain;
  for (const auto byte : totp_secret(secret)) plain += fmt::format("{:02x}", byte);
  EXPECT_EQ(stored().find(plain), std::string::npos);
  database.run("update app.second_factors set secret = '\\x" + plain + "'");
  EXPECT_EQ(log_in_with(next_code()).status, 201u);
  EXPECT_EQ(stored().size(), 120u);
  // With another key: no code fits, recovery codes do.
  database.run("update app.second_factors set secret = sha256(secret) || sha256(secret), last_step = 0");
  EXPECT_EQ(code(log_in_with(next_code())), "invalid_code");
  EXPECT_EQ(log_in_with(recovery[1]).status, 201u);
}

// -- the profile

TEST_F(AnAccount, HasAProfileThatColleaguesSeeInPart) {
  const auto profile = ada->get("/me/profile");
  EXPECT_EQ(text_of(profile, "timezone"), "UTC");
  const auto changed = ada->patch(
      "/me/profile",
      R"({"avatar_url":"https://x.example/a.png","bio":"Two\nlines","phone":"+48 22 555 01 23","company":"Engines",)"
      R"("department":"Analysis","job_title":"Countess","timezone":"Europe/Warsaw","preferences":{"theme":"dark"}})",
      {"If-Match: " + profile.header("etag")});
  ASSERT_EQ(changed.status, 200u) << changed.body;
  EXPECT_EQ(text_of(changed, "phone"), "+48 22 555 01 23");
  EXPECT_EQ(ada->patch("/me/profile", R"({"bio":"x"})", {"If-Match: " + profile.header("etag")}).status, 412u);
  EXPECT_EQ(text_of(ada->patch("/me/profile", R"({"bio":null})"), "bio"), "null");
  for (const auto* bad :
       {R"({"timezone":"Mars/Olympus"})", R"({"timezone":"../../etc/passwd"})", R"({"timezone":""})",
        R"({"timezone":null})", R"({"timezone":"posix/UTC"})", R"({"phone":"call me"})", R"({"phone":"+1"})",
        R"({"phone":" 123"})", R"({"avatar_url":"javascript:x"})", R"({"preferences":[]})",
        R"({"preferences":{"a":1e9999}})", R"({"user_id":"0195d6f0-0000-7000-8000-000000000000"})"})
    EXPECT_GE(ada->patch("/me/profile", bad).status, 400u) << bad;

  const auto bob = stack.person("bob"), eve = stack.person("eve");
  const auto organization = text_of(bob->post("/organizations", R"({"name":"X","slug":"xx"})"), "id");
  EXPECT_EQ(bob->post("/organizations/" + organization + "/members", R"({"email":"ada@example.org"})").status, 201u);
  const auto path = fmt::format("/organizations/{}/members/{}/profile", organization, text_of(ada->get("/me"), "id"));
  const auto seen = bob->get(path);
  EXPECT_EQ(text_of(seen, "job_title"), "Countess");
  EXPECT_EQ(text_of(seen, "timezone"), "Europe/Warsaw");
  EXPECT_THAT(seen.body, Not(HasSubstr("555")));
  EXPECT_THAT(seen.body, Not(HasSubstr("dark")));
  EXPECT_EQ(eve->get(path).status, 404u);
}

// -- the end

TEST_F(AnAccount, LeavesWithItsPersonalDataAndItsWorkStays) {
  ada->patch("/me/profile", R"({"phone":"+48 22 555 01 23","preferences":{"theme":"dark"}})");
  ada->patch("/me", R"({"first_name":"Augusta"})");
  const auto id = text_of(ada->get("/me"), "id");
  const auto bob = stack.person("bob");
  const auto organization = text_of(bob->post("/organizations", R"({"name":"X","slug":"xx"})"), "id");
  bob->post("/organizations/" + organization + "/members", R"({"email":"ada@example.org"})");
  const auto project = text_of(bob->post("/organizations/" + organization + "/projects", R"({"name":"P"})"), "id");
  const auto task = text_of(
      ada->post("/projects/" + project + "/tasks", fmt::format(R"({{"title":"T","assigned_to":"{}"}})", id)), "id");
  const auto alone = text_of(ada->post("/organizations", R"({"name":"Alone","slug":"alone"})"), "id");

  const auto leave = [&](std::string_view password) {
    return ada->post("/me/deactivation", fmt::format(R"({{"password":"{}"}})", password));
  };
  EXPECT_EQ(field_code(leave("wrong")), "wrong_password");
  EXPECT_EQ(leave(Stack::password).status, 204u);
  EXPECT_EQ(ada->get("/me").status, 401u);
  EXPECT_EQ(log_in(anyone, "ada@example.org", Stack::password).status, 401u);

  EXPECT_EQ(
      database.value("select format('%s %s %s %s', first_name, last_name, status, email like 'deleted-%') from users "
                     "where id = '" +
                     id + "'"),
      "Deleted user inactive t");
  EXPECT_EQ(text_of(bob->get("/tasks/" + task), "created_by"), id);
  EXPECT_EQ(text_of(bob->get("/tasks/" + task), "assigned_to"), "null");
  EXPECT_EQ(database.value("select deleted_at is not null from organizations where id = '" + alone + "'"), "t");
  // Gone from everywhere, the record and the queue of mails included.
  for (const auto& table : database.rows("select format('%I.%I', schemaname, tablename) from pg_tables "
                                         "where schemaname in ('public', 'app')"))
    for (const auto* personal : {"ada@example", "Augusta", "555 01 23", "dark"})
      EXPECT_EQ(count(fmt::format("{} t where t::text like '%{}%'", table[0], personal)), "0") << table[0] << personal;
  // And the address is free.
  EXPECT_EQ(stack.person("ada")->get("/me").status, 200u);
}

TEST_F(AnAccount, ThatIsAnOrganizationsLastOwnerCannotLeave) {
  const auto bob = stack.person("bob");
  const auto organization = text_of(ada->post("/organizations", R"({"name":"X","slug":"xx"})"), "id");
  ada->post("/organizations/" + organization + "/members", R"({"email":"bob@example.org"})");
  const auto before = database.digest();
  const auto refused = ada->post("/me/deactivation", fmt::format(R"({{"password":"{}"}})", Stack::password));
  EXPECT_EQ(refused.status, 409u);
  EXPECT_EQ(code(refused), "last_owner");
  EXPECT_EQ(database.digest(), before);
  const auto bobs = text_of(bob->get("/me"), "id");
  ada->patch("/organizations/" + organization + "/members/" + bobs, R"({"role":"owner"})");
  EXPECT_EQ(ada->post("/me/deactivation", fmt::format(R"({{"password":"{}"}})", Stack::password)).status, 204u);
}

TEST(WhoLeft, HasNoAddressOnTheRecordSoonAfter) {
  const support::SmtpServer smtp;
  const Stack stack([&](Config& config) {
    config.mail.url = smtp.url();
    config.mail.from = "cairn@example.org";
    config.mail.require_tls = false;
    config.mail.deliver = true;
  });
  auto database = stack.database();
  const auto ada = stack.person("ada");
  const auto id = text_of(ada->get("/me"), "id");
  ada->post("/me/deactivation", fmt::format(R"({{"password":"{}"}})", Stack::password));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (database.value("select count(*) from app.redactions") != "0" && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_NE(database.value("select count(*) from audit_logs where user_id = '" + id + "'"), "0");
  EXPECT_EQ(database.value("select count(*) from audit_logs where ip_address is not null and user_id = '" + id + "'"),
            "0");
}

TEST_F(AnAccount, IsExportedAsOneDocument) {
  const auto organization = text_of(ada->post("/organizations", R"({"name":"X","slug":"xx"})"), "id");
  const auto project = text_of(ada->post("/organizations/" + organization + "/projects", R"({"name":"P"})"), "id");
  for (int i = 0; i < 120; ++i) ada->post("/projects/" + project + "/tasks", R"({"title":"T"})");
  stack.person("bob");
  const auto document = ada->get("/me/export");
  ASSERT_EQ(document.status, 200u) << document.body;
  EXPECT_EQ(document.header("content-disposition"), "attachment; filename=\"cairn-export.json\"");
  const auto json = document.json();
  EXPECT_EQ(text_of(json.at("account"), "email"), "ada@example.org");
  EXPECT_EQ(json.at("tasks").as_array().size(), 120u);
  EXPECT_EQ(json.at("memberships").as_array().size(), 1u);
  EXPECT_EQ(json.at("sessions").as_array().size(), 1u);
  EXPECT_EQ(std::to_string(json.at("record").as_array().size()),
            count("audit_logs where user_id = (select id from users where email = 'ada@example.org')"));
  EXPECT_TRUE(json.at("complete").as_bool());
  EXPECT_THAT(document.body, Not(HasSubstr("bob@")));
  EXPECT_THAT(document.body, Not(HasSubstr("argon2")));
}

// -- the first administrator

Reply set_up(Client& client, std::string_view token, std::string_view name = "ada") {
  return client.post(
      "/setup", fmt::format(R"({{"token":"{}","email":"{}","password":"{}","first_name":"A","last_name":"B"}})", token,
                            Stack::email(name), Stack::password));
}

TEST(TheFirstAdministrator, IsMadeOnceByTheTokenOfAnyServersLog) {
  const Stack stack;
  auto client = stack.client();
  EXPECT_EQ(text_of(client.get("/setup"), "open"), "false");
  EXPECT_EQ(code(set_up(client, "guess")), "setup_closed");
  const auto token = account::open_setup(stack.owner_url()), other = account::open_setup(stack.owner_url());
  ASSERT_TRUE(token && other);
  EXPECT_EQ(text_of(client.get("/setup"), "open"), "true");
  EXPECT_EQ(code(set_up(client, "guess")), "setup_closed");
  const auto made = set_up(client, *token);
  ASSERT_EQ(made.status, 201u) << made.body;
  EXPECT_EQ(text_of(made, "role"), "admin");
  EXPECT_EQ(text_of(made, "email_verified"), "true");
  EXPECT_EQ(text_of(client.get("/setup"), "open"), "false");
  for (const auto& dead : {*token, *other}) EXPECT_EQ(code(set_up(client, dead, "bob")), "setup_closed");
  EXPECT_FALSE(account::open_setup(stack.owner_url()));
  EXPECT_EQ(log_in(client, "ada@example.org", Stack::password).status, 201u);
  auto database = stack.database();
  EXPECT_EQ(database.value("select count(*) from app.setup_tokens"), "0");
  EXPECT_EQ(database.value("select count(*) from audit_logs where user_id = entity_id and action = 'create' and "
                           "new_values->>'role' = 'admin'"),
            "1");
}

TEST(TheFirstAdministrator, IsOneOfManyWhoTryAtOnceOnTwoServers) {
  const Stack stack;
  const auto other = stack.beside();
  const auto token = account::open_setup(stack.owner_url()).value(),
             second = account::open_setup(stack.owner_url()).value();
  constexpr unsigned many = 8;
  std::latch start(many);
  std::array<unsigned, many> status{};
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < many; ++i)
    threads.emplace_back([&, i] {
      auto client = i % 2 == 0 ? stack.client() : other->client();
      start.arrive_and_wait();
      status[i] = set_up(client, i % 3 == 0 ? token : second, fmt::format("admin{}", i)).status;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(std::count(status.begin(), status.end(), 201u), 1);
  EXPECT_EQ(std::count(status.begin(), status.end(), 403u), many - 1);
  EXPECT_EQ(stack.database().value("select count(*) from users where role = 'admin'"), "1");
}

}  // namespace
}  // namespace cairn
