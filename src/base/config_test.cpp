#include "base/config.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace cairn {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class ConfigFiles : public testing::Test {
 protected:
  ConfigFiles() {
    std::string pattern = testing::TempDir() + "cairn-config-XXXXXX";
    dir_ = ::mkdtemp(pattern.data());
    sources_.system_file = dir_ / "system.toml";
    sources_.environment = {{"CAIRN_DATA_DIR", dir_ / "data"}};
    std::filesystem::create_directory(dir_ / "data");
  }
  ~ConfigFiles() override { std::filesystem::remove_all(dir_); }

  std::string write(const std::string& name, std::string_view text) {
    const auto path = dir_ / name;
    std::ofstream(path) << text;
    return path;
  }
  std::string problem() const {
    try {
      load(sources_);
    } catch (const ConfigError& error) { return error.what(); }
    return "none";
  }

  std::filesystem::path dir_;
  Sources sources_;
};

TEST_F(ConfigFiles, HasDefaultsWithoutAnySource) {
  sources_.environment.clear();
  const Config config = load(sources_);
  EXPECT_EQ(config.data_dir, ".cairn");
  EXPECT_EQ(config.server.listen.text(), "127.0.0.1:8080");
  EXPECT_EQ(config.server.drain_seconds, std::chrono::seconds{20});
  EXPECT_EQ(config.password.memory_kib, 19'456U);
  EXPECT_FALSE(config.metrics.is_public);
  EXPECT_TRUE(config.origins.empty());
}

TEST_F(ConfigFiles, LetsEachSourceOverrideTheOneBefore) {
  sources_.file = write("a.toml", "[log]\nlevel = 'warn'\nformat = 'json'\naccess = 'off'\n");
  sources_.environment.emplace_back("CAIRN_LOG__LEVEL", "error");
  sources_.environment.emplace_back("CAIRN_LOG__FORMAT", "console");
  sources_.flags = {{"log-level", "debug"}};
  const Config config = load(sources_);
  EXPECT_EQ(config.log.access, log::AccessMode::off);
  EXPECT_EQ(config.log.format, log::Format::console);
  EXPECT_EQ(config.log.level, log::Level::debug);
  EXPECT_EQ(config.origins.at("log.access"), *sources_.file + ":4");
  EXPECT_EQ(config.origins.at("log.format"), "CAIRN_LOG__FORMAT");
  EXPECT_EQ(config.origins.at("log.level"), "--log-level");
  EXPECT_FALSE(config.origins.contains("server.listen"));
}

TEST_F(ConfigFiles, PrefersTheFileInTheDataDirToTheSystemsAndTheNamedToBoth) {
  write("system.toml", "server.threads = 1");
  EXPECT_EQ(load(sources_).server.threads, 1U);
  write("data/cairn.toml", "server.threads = 2");
  EXPECT_EQ(load(sources_).server.threads, 2U);
  sources_.environment.emplace_back("CAIRN_CONFIG", write("env.toml", "server.threads = 3"));
  EXPECT_EQ(load(sources_).server.threads, 3U);
  sources_.file = write("flag.toml", "server.threads = 4");
  EXPECT_EQ(load(sources_).server.threads, 4U);
}

TEST_F(ConfigFiles, FollowsTheDataDirOfTheCommandLineToItsFile) {
  std::filesystem::create_directory(dir_ / "other");
  write("other/cairn.toml", "server.threads = 5");
  sources_.flags = {{"data-dir", dir_ / "other"}};
  const Config config = load(sources_);
  EXPECT_EQ(config.data_dir, (dir_ / "other").string());
  EXPECT_EQ(config.server.threads, 5U);
}

TEST_F(ConfigFiles, RefusesANamedFileThatIsNotThere) {
  sources_.file = dir_ / "missing.toml";
  EXPECT_THAT(problem(), HasSubstr("missing.toml: cannot be read"));
}

TEST_F(ConfigFiles, NamesTheNearestSettingForAnUnknownOne) {
  sources_.file = write("a.toml", "[server]\nlisen = 'localhost:80'\n[sessions]\n");
  sources_.environment.emplace_back("CAIRN_DATABSE__URL", "postgres://user:hunter2@db/x");
  sources_.environment.emplace_back("CAIRN_DATA_DIRS", "x");
  sources_.flags = {{"log-levle", "info"}};
  EXPECT_THAT(problem(),
              AllOf(HasSubstr("a.toml:2:1: no setting server.lisen; did you mean server.listen?"),
                    HasSubstr("a.toml:3:2: no setting sessions"),
                    HasSubstr("CAIRN_DATABSE__URL: no such setting; did you mean CAIRN_DATABASE__URL?"),
                    HasSubstr("CAIRN_DATA_DIRS: no such setting; did you mean CAIRN_DATA_DIR?"),
                    HasSubstr("--log-levle: no such setting; did you mean --log-level?"), Not(HasSubstr("hunter2"))));
}

TEST_F(ConfigFiles, IgnoresTheRestOfTheEnvironment) {
  sources_.environment.emplace_back("PATH", "/bin");
  sources_.environment.emplace_back("CAIRN_TOKEN", "cairn_pat_x");
  EXPECT_EQ(problem(), "none");
}

TEST_F(ConfigFiles, NamesThePlaceOfAValueOfTheWrongType) {
  sources_.file = write("a.toml",
                        "[server]\nthreads = '4'\nlisten = 8080\ntrusted_proxies = '10.0.0.1'\n"
                        "[registration]\nopen = 'yes'\n[session]\nidle_minutes = 1.5\n");
  EXPECT_THAT(problem(), AllOf(HasSubstr("a.toml:2:11: server.threads must be a whole number"),
                               HasSubstr("a.toml:3:10: server.listen must be text in quotes"),
                               HasSubstr("a.toml:4:19: server.trusted_proxies must be a list of texts"),
                               HasSubstr("a.toml:6:8: registration.open must be true or false"),
                               HasSubstr("a.toml:8:16: session.idle_minutes must be a whole number")));
}

TEST_F(ConfigFiles, NamesThePlaceOfASyntaxError) {
  sources_.file = write("a.toml", "[server]\nthreads = \n");
  EXPECT_THAT(problem(), HasSubstr("a.toml:2:"));
}

TEST_F(ConfigFiles, RefusesValuesOutOfRange) {
  sources_.environment.emplace_back("CAIRN_PASSWORD__MIN_LENGTH", "7");
  sources_.environment.emplace_back("CAIRN_HTTP__BODY_BYTES", "0");
  sources_.environment.emplace_back("CAIRN_SERVER__THREADS", "-1");
  sources_.environment.emplace_back("CAIRN_DATABASE__READ_CONNECTIONS", "2x");
  sources_.environment.emplace_back("CAIRN_LOG__LEVEL", "loud");
  sources_.environment.emplace_back("CAIRN_SERVER__LISTEN", "8080");
  EXPECT_THAT(problem(),
              AllOf(HasSubstr("CAIRN_PASSWORD__MIN_LENGTH: password.min_length must be from 8 to 256, not 7"),
                    HasSubstr("CAIRN_HTTP__BODY_BYTES: http.body_bytes must be from 1"),
                    HasSubstr("CAIRN_SERVER__THREADS: server.threads must be from 0 to 1024, not -1"),
                    HasSubstr("database.read_connections is no whole number: '2x'"),
                    HasSubstr("log.level must be debug, info, warn or error, not 'loud'"),
                    HasSubstr("server.listen must be host:port")));
}

TEST_F(ConfigFiles, RefusesValuesThatContradictEachOther) {
  sources_.flags = {{"session-idle-minutes", "1500"}, {"base-url", "https://cairn.example/"}};
  sources_.environment.emplace_back("CAIRN_SERVER__TRUSTED_PROXIES", "10.0.0.0/8, 10.0.0.0/99, ::1");
  sources_.environment.emplace_back("CAIRN_DATABASE__OWNER_URL", "postgres:///x");
  EXPECT_THAT(problem(), AllOf(HasSubstr("--session-idle-minutes: session.idle_minutes is longer"),
                               HasSubstr("--base-url: server.base_url must not end with a slash"),
                               HasSubstr("server.trusted_proxies '10.0.0.0/99' is no address"),
                               HasSubstr("CAIRN_DATABASE__OWNER_URL: database.owner_url needs database.url")));
}

TEST_F(ConfigFiles, RefusesMailThatCouldNotBeSentOrNotSafely) {
  const auto mail = [&](std::string_view settings) {
    sources_.file = write("mail.toml", "[mail]\n" + std::string(settings));
    return problem();
  };
  const std::string good = "url = 'smtp://mail.example:587'\nfrom = 'Cairn <cairn@example.org>'\n";
  EXPECT_EQ(mail(good), "none");
  EXPECT_EQ(mail("url = 'smtps://mail.example'\nfrom = 'cairn@example.org'\nuser = 'u'\npassword = 'p'"), "none");
  EXPECT_EQ(mail(good + "user = 'u'\npassword = 'p'"), "none");
  EXPECT_THAT(mail("url = 'smtp://mail.example'"), HasSubstr("mail.url needs mail.from"));
  EXPECT_THAT(mail(good + "user = 'u'"), HasSubstr("need each other"));
  EXPECT_THAT(mail(good + "user = 'u'\npassword = 'p'\nrequire_tls = false"), HasSubstr("needs mail.require_tls"));
  for (const auto* url : {"mail.example", "http://mail.example", "smtp://", "smtp://u:p@mail.example", "smtp://a/b"})
    EXPECT_THAT(mail("from = 'a@b.example'\nurl = '" + std::string(url) + "'"), HasSubstr("mail.url must be")) << url;
  for (const auto* from : {"cairn", "Cairn", "a@b.example, c@d.example", "A <a@b.example> <c@d.example"})
    EXPECT_THAT(mail("from = '" + std::string(from) + "'"), HasSubstr("mail.from")) << from;
}

TEST_F(ConfigFiles, ReadsASecretFromTheFileThatItsVariableNames) {
  sources_.environment.emplace_back("CAIRN_DATABASE__URL_FILE", write("url", "postgres://db/cairn\n"));
  EXPECT_EQ(load(sources_).database.url.reveal(), "postgres://db/cairn");
  EXPECT_EQ(load(sources_).origins.at("database.url"), "CAIRN_DATABASE__URL_FILE");
  sources_.environment.emplace_back("CAIRN_DATABASE__URL", "postgres://other/cairn");
  EXPECT_THAT(problem(), HasSubstr("CAIRN_DATABASE__URL_FILE: CAIRN_DATABASE__URL is set as well"));
}

TEST_F(ConfigFiles, OffersNoFileVariantForWhatIsNoSecret) {
  sources_.environment.emplace_back("CAIRN_LOG__LEVEL_FILE", write("level", "debug"));
  EXPECT_THAT(problem(), HasSubstr("CAIRN_LOG__LEVEL_FILE: no such setting"));
}

TEST_F(ConfigFiles, PrintsEverySettingWithItsOriginAndNoSecret) {
  sources_.environment.emplace_back("CAIRN_REDIS__URL", "redis://:hunter2@cache");
  sources_.environment.emplace_back("CAIRN_SERVER__TRUSTED_PROXIES", "10.0.0.0/8,::1");
  sources_.flags = {{"listen", "[::1]:9000"}};
  const std::string text = print(load(sources_));
  EXPECT_THAT(text,
              AllOf(HasSubstr("listen = \"[::1]:9000\"  # --listen\n"), HasSubstr("level = \"info\"  # default\n"),
                    HasSubstr("# url is set, but secret  (CAIRN_REDIS__URL)\n"), Not(HasSubstr("hunter2"))));
  for (const Setting& setting : settings()) {
    const auto name = std::string(setting.name);
    EXPECT_THAT(text, HasSubstr(name.substr(name.find('.') + 1))) << name;
  }

  sources_.file = write("printed.toml", text);
  sources_.environment = {{"CAIRN_REDIS__URL", "redis://:hunter2@cache"}};
  sources_.flags.clear();
  const Config again = load(sources_);
  EXPECT_EQ(again.server.listen.text(), "[::1]:9000");
  EXPECT_THAT(again.server.trusted_proxies, testing::ElementsAre("10.0.0.0/8", "::1"));
  EXPECT_EQ(again.data_dir, (dir_ / "data").string());
}

TEST_F(ConfigFiles, TakesEveryDefaultBackThroughItsVariable) {
  const std::string defaults = print(load(sources_));
  sources_.environment.emplace_back("CAIRN_METRICS__PUBLIC", "true");
  sources_.environment.emplace_back("CAIRN_SESSION__ABSOLUTE_HOURS", "12");
  sources_.environment.emplace_back("CAIRN_HTTP__BODY_BYTES", "2147483647");
  const Config config = load(sources_);
  EXPECT_TRUE(config.metrics.is_public);
  EXPECT_EQ(config.session.absolute_hours, std::chrono::hours{12});
  EXPECT_EQ(config.http.body_bytes, 2'147'483'647U);
}

TEST(Listen, ReadsHostsAddressesAndSockets) {
  for (const auto* text : {"127.0.0.1:8080", "localhost:0", "[::1]:65535", "unix:/run/cairn/http.sock"}) {
    const auto listen = Listen::parse(text);
    ASSERT_TRUE(listen) << text;
    EXPECT_EQ(listen->text(), text);
  }
  EXPECT_TRUE(Listen::parse("unix:/run/x")->host.empty());
}

TEST(Listen, RefusesWhatItCannotBind) {
  for (const auto* text : {"", "8080", ":8080", "::1:8080", "[localhost]:80", "host:", "host:65536", "host:80 ",
                           "host:+80", "unix:", "unix:relative", "http://host:80"}) {
    EXPECT_FALSE(Listen::parse(text)) << text;
  }
}

TEST(Settings, HaveOneNameEachInEverySource) {
  std::map<std::string, int> seen;
  for (const Setting& setting : settings()) {
    EXPECT_EQ(++seen[std::string(setting.name)], 1);
    EXPECT_EQ(++seen["--" + setting.flag()], 1) << setting.flag();
    EXPECT_EQ(++seen[setting.environment()], 1);
    EXPECT_FALSE(setting.help.empty());
  }
  EXPECT_TRUE(seen.contains("--listen"));
  EXPECT_TRUE(seen.contains("--database-owner-url"));
  EXPECT_TRUE(seen.contains("CAIRN_SERVER__BASE_URL"));
}

}  // namespace
}  // namespace cairn
