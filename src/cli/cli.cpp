#include "cli/cli.hpp"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <CLI/CLI.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>

#include "account/setup.hpp"
#include "api/openapi.hpp"
#include "audit/checkpoint.hpp"
#include "base/config.hpp"
#include "base/log.hpp"
#include "cli/administrator.hpp"
#include "embedded/embedded.hpp"
#include "importer/importer.hpp"
#include "job/sender.hpp"
#include "pg/migrate.hpp"
#include "server/server.hpp"

namespace cairn::cli {
namespace {

constexpr int done = 0, failed = 1;

// Everything that the settings' own flags said.
struct Flags {
  Flags() = default;
  std::optional<std::string> file;
  Pairs pairs;
};

// Each setting is a flag of the command; `flags` collects what was given.
void add_settings(CLI::App& command, Flags& flags) {
  command.add_option_function<std::string>(
      "--config", [&flags](const std::string& file) { flags.file = file; }, "TOML file to read settings from");
  for (const auto& setting : settings()) {
    const std::string name(setting.name);
    command
        .add_option_function<std::string>(
            "--" + setting.flag(), [&flags, name](const std::string& value) { flags.pairs.emplace_back(name, value); },
            fmt::format("{} ({})", setting.help, setting.environment()))
        ->type_name(std::string(setting.type))
        ->group("Settings");
  }
}

Config load_config(const Flags& flags) {
  Sources sources;
  sources.file = flags.file;
  sources.environment = process_environment();
  sources.flags = flags.pairs;
  return load(sources);
}

bool external(const Config& config) { return !config.database.url.reveal().empty(); }

std::string owner_url(const Config& config) {
  return config.database.owner_url.reveal().empty() ? config.database.url.reveal() : config.database.owner_url.reveal();
}

// The connection string of the database's owner, for commands that run beside a server.
std::string owner_of_running(const Config& config) {
  return external(config) ? owner_url(config) : embedded::endpoints(config.data_dir).owner_url;
}

// SIGTERM and SIGINT as something that can be waited for; every thread started later inherits the mask.
class StopSignal {
 public:
  StopSignal() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    fd_ = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (fd_ < 0) throw std::system_error(errno, std::generic_category(), "signalfd");
  }
  ~StopSignal() { close(fd_); }
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  int fd() const { return fd_; }
  bool given() const {
    signalfd_siginfo info;
    return read(fd_, &info, sizeof info) == sizeof info;
  }
  void wait() const {
    pollfd waiting{fd_, POLLIN, 0};
    while (!given()) poll(&waiting, 1, -1);
  }

 private:
  int fd_;
};

int serve(const Config& config) {
  log::start(config.log.format, config.log.level);
  const auto begun = std::chrono::steady_clock::now();

  std::optional<embedded::Servers> servers;
  server::Backends backends;
  std::string owner;
  if (external(config)) {
    if (config.redis.url.reveal().empty())
      throw std::runtime_error("database.url is set and redis.url is not: name the Redis server too, or neither");
    backends.database_url = config.database.url.reveal();
    // With one login for everything, the server works as the runtime role; with two, its login is that role already.
    if (config.database.owner_url.reveal().empty()) backends.role = "cairn_app";
    backends.redis_url = config.redis.url.reveal();
    owner = owner_url(config);
  } else {
    embedded::Options options;
    options.data_dir = config.data_dir;
    options.report = [](std::string_view line) { log::warn(line); };
    servers.emplace(std::move(options));
    const auto endpoints = servers->start();
    backends.database_url = endpoints.app_url;
    backends.redis_url = config.redis.url.reveal().empty() ? endpoints.redis_socket : config.redis.url.reveal();
    owner = endpoints.owner_url;
  }
  pg::migrate(owner, [](std::string_view line) { log::info(line); });

  const StopSignal signal;
  server::Server server(config, std::move(backends));
  server.start();
  auto listen = config.server.listen;
  if (listen.unix_path.empty()) listen.port = server.port();
  const auto address = listen.unix_path.empty() ? "http://" + listen.text() : listen.text();
  const auto taken = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
  log::info("ready", {{"address", address}, {"ms", taken.count()}});
  if (const auto token = account::open_setup(owner))
    log::info("nobody has an account yet: who opens this address first becomes the administrator",
              {{"address", fmt::format("{}/setup?token={}", server.shared().base_url, *token)}});

  std::string failure;
  try {
    if (servers)
      servers->supervise([&] { return signal.given(); }, signal.fd());
    else
      signal.wait();
  } catch (const std::exception& error) {
    failure = error.what();
    log::error("giving up", {{"cause", failure}});
  }
  log::info("stopping");
  server.stop();
  if (servers) servers->stop();
  log::info("stopped");
  return failure.empty() ? done : failed;
}

int migrate_status(const Config& config) {
  const auto status = pg::status(owner_of_running(config));
  fmt::print("applied {}, newest {}\n", status.applied, status.newest);
  for (const auto& pending : status.pending) fmt::print("pending {}\n", pending);
  if (!status.refusal.empty()) fmt::print("refused: {}\n", status.refusal);
  return status.current() ? done : failed;
}

int migrate_up(const Config& config) {
  pg::migrate(owner_of_running(config), [](std::string_view line) { fmt::print("{}\n", line); });
  fmt::print("up to date\n");
  return done;
}

// Becomes psql. What is changed there is on the record as the operator's.
int psql(const Config& config, const std::vector<std::string>& more) {
  const auto database = owner_of_running(config);
  const char* user = getenv("SUDO_USER");
  if (!user) user = getenv("USER");
  setenv("PGOPTIONS", fmt::format("-c app.system=psql:{}", user ? user : "operator").c_str(), 1);
  std::vector<std::string> words{"psql", database};
  words.insert(words.end(), more.begin(), more.end());
  std::vector<char*> arguments;
  for (auto& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execvp("psql", arguments.data());
  throw std::runtime_error("psql cannot be run: install postgresql-client-15");
}

// Not through the outbox: whoever asks wants to see what happens.
int test_mail(const Config& config, const std::string& to) {
  const auto address = Email::parse(to);
  if (!address) throw std::runtime_error("--to " + Email::problem(to));
  job::Content content;
  content.id = Uuid::make().text();
  content.to = *address;
  content.subject = "A test by Cairn";
  content.text = "This mail was sent by `cairn testmail`: mails of this server arrive.\n";
  const auto file = job::Sender(config).send(content, "test");
  if (file.empty())
    fmt::print("the SMTP server has taken the mail\n");
  else
    fmt::print("no SMTP server is set (mail.url), so the mail is in {}\n", file);
  return done;
}

// What is wrong goes to standard output, a line each: it is the result.
int verify_record(const Config& config, const std::vector<std::string>& keys, const std::string& export_file) {
  std::vector<audit::PublicKey> trusted;
  for (const auto& text : keys) {
    const auto key = audit::parse_key(text);
    if (!key) throw std::runtime_error("--public-key takes 64 hexadecimal digits");
    trusted.push_back(*key);
  }
  const auto own = audit::SigningKey::file_in(config.data_dir);
  if (trusted.empty() && std::filesystem::exists(own)) trusted.push_back(audit::SigningKey::open(own).public_key());
  std::optional<std::string> exported;
  if (!export_file.empty()) {
    std::ifstream file(export_file);
    if (!file) throw std::runtime_error("cannot read " + export_file);
    std::ostringstream text;
    text << file.rdbuf();
    exported = text.str();
  }
  const auto found = audit::verify(owner_of_running(config), trusted, exported);
  for (const auto& problem : found.problems) fmt::print("{}\n", problem);
  fmt::print("{} entries, {} of them redacted; {} checkpoints cover {}{}\n", found.entries, found.redacted,
             found.checkpoints, found.covered,
             found.last_made_at.empty() ? "" : fmt::format(", the last made at {}", found.last_made_at));
  fmt::print("{}\n", found.problems.empty() ? "the record is whole and agrees with the tables"
                                            : fmt::format("{} problems", found.problems.size()));
  return found.problems.empty() ? done : failed;
}

int import_csv(const Config& config, importer::Options options, bool json) {
  options.database_url = owner_of_running(config);
  options.progress = options.progress || isatty(STDERR_FILENO) != 0;
  const auto report = importer::run(options, std::cerr);
  importer::print(report, std::cout, json);
  return report.ok() ? done : failed;
}

// What the commands about accounts have in common; `act` is done with the database at hand.
void add_admin_command(CLI::App& command, Flags& flags, bool& json, std::function<int()>& chosen,
                       std::function<void(Administrator&)> act) {
  add_settings(command, flags);
  command.add_flag("--json", json, "Print the answer as JSON");
  command.callback([&flags, &json, &chosen, act = std::move(act)] {
    chosen = [&flags, &json, act] {
      const auto config = load_config(flags);
      Administrator administrator(config, owner_of_running(config), json);
      act(administrator);
      return done;
    };
  });
}

// An option's text, refused with the words of the type that it is to be.
template<class T>
CLI::Validator valid(const char* name) {
  return {[](const std::string& text) { return T::problem(text); }, name};
}

struct AdminWords {
  AdminWords() = default;
  std::string who, role, status, email, first_name, last_name, since;
  int most = 50;
  bool verified = false, json = false;
};

void add_admin(CLI::App& app, Flags& flags, AdminWords& words, std::function<int()>& chosen) {
  auto* admin = app.add_subcommand("admin", "Look after accounts, on the record as system:cli");
  admin->require_subcommand(1);
  admin->footer(
      "Example: cairn admin create-user --email ada@example.org --first-name Ada --last-name Lovelace "
      "--role admin --data-dir .cairn");
  const CLI::IsMember roles({"admin", "manager", "user"});
  const auto add = [&](const char* name, const char* help, std::function<void(Administrator&)> act) {
    auto* command = admin->add_subcommand(name, help);
    add_admin_command(*command, flags, words.json, chosen, std::move(act));
    return command;
  };
  const auto add_for = [&](const char* name, const char* help, std::function<void(Administrator&)> act) {
    auto* command = add(name, help, std::move(act));
    command->add_option("who", words.who, "E-mail address or id")->required();
    return command;
  };

  auto* create = add("create-user", "Make an account; its password is set by a link in a mail",
                     [&words](Administrator& administrator) {
                       administrator.create_user(words.email, words.first_name, words.last_name,
                                                 words.role.empty() ? "user" : words.role, words.verified);
                     });
  create->add_option("--email", words.email, "The address")->required()->check(valid<Email>("EMAIL"));
  create->add_option("--first-name", words.first_name, "First name")->required()->check(valid<account::Name>("NAME"));
  create->add_option("--last-name", words.last_name, "Last name")->required()->check(valid<account::Name>("NAME"));
  create->add_option("--role", words.role, "Role on the server: admin, manager or user")->check(roles);
  create->add_flag("--verified", words.verified, "The address is confirmed already");

  auto* list = add("list-users", "List accounts by their addresses", [&words](Administrator& administrator) {
    administrator.list_users(words.email, words.role, words.status);
  });
  list->add_option("--email", words.email, "Only addresses that begin like this");
  list->add_option("--role", words.role, "Only this role on the server")->check(roles);
  list->add_option("--status", words.status, "Only this status")
      ->check(CLI::IsMember({"active", "inactive", "suspended"}));

  add_for("suspend", "Keep somebody out, from the next request on",
          [&words](Administrator& administrator) { administrator.set_status(words.who, "suspended"); });
  add_for("reactivate", "Let somebody in again who was suspended",
          [&words](Administrator& administrator) { administrator.set_status(words.who, "active"); });
  add_for("reset-password", "Mail a link to set a new password by",
          [&words](Administrator& administrator) { administrator.reset_password(words.who); });
  add_for("remove-second-factor", "Take off the second factor of somebody who lost it",
          [&words](Administrator& administrator) { administrator.remove_second_factor(words.who); });
  auto* record = add("record", "Show the newest entries of the record", [&words](Administrator& administrator) {
    administrator.show_record(words.who, words.since, words.most);
  });
  record->add_option("who", words.who, "Only what this person did, or what was done to them: e-mail address or id");
  record->add_option("--since", words.since, "Only what was done then or later, such as 2026-11-01T00:00:00Z");
  record->add_option("--limit", words.most, "At most so many")->check(CLI::Range(1, 1'000'000));
  add_for("promote", "Give a role on the server, or take it away with --role user",
          [&words](Administrator& administrator) {
            administrator.set_role(words.who, words.role.empty() ? "admin" : words.role);
          })
      ->add_option("--role", words.role, "admin (unless said otherwise), manager or user")
      ->check(roles);
}

}  // namespace

int run(int argc, char** argv) {
  CLI::App app("Cairn keeps a team's organizations, projects and tasks, with every change on the record.", "cairn");
  app.require_subcommand(1);
  app.footer("Example: cairn serve --data-dir .cairn --listen 127.0.0.1:8080");
  Flags flags;
  std::function<int()> command;

  auto* serve_command =
      app.add_subcommand("serve", "Run the server, with a private PostgreSQL and Redis unless told otherwise");
  serve_command->footer("Example: cairn serve --data-dir /var/lib/cairn --listen 127.0.0.1:8080");
  add_settings(*serve_command, flags);
  serve_command->callback([&] { command = [&] { return serve(load_config(flags)); }; });

  auto* migrate_command = app.add_subcommand("migrate", "Bring the database's schema up to date");
  migrate_command->footer("Example: cairn migrate status --data-dir .cairn");
  migrate_command->require_subcommand(1);
  auto* status_command = migrate_command->add_subcommand("status", "Say what is applied and what is pending");
  add_settings(*status_command, flags);
  status_command->callback([&] { command = [&] { return migrate_status(load_config(flags)); }; });
  auto* up_command = migrate_command->add_subcommand("up", "Apply what is pending");
  add_settings(*up_command, flags);
  up_command->callback([&] { command = [&] { return migrate_up(load_config(flags)); }; });

  auto* psql_command = app.add_subcommand("psql", "Open psql on the database in use");
  psql_command->footer("Example: cairn psql --data-dir .cairn -- -c 'select count(*) from tasks'");
  add_settings(*psql_command, flags);
  std::vector<std::string> psql_words;
  psql_command->add_option("words", psql_words, "Words for psql, after --");
  psql_command->callback([&] { command = [&] { return psql(load_config(flags), psql_words); }; });

  auto* import_command = app.add_subcommand("import", "Bring in tasks from elsewhere");
  import_command->require_subcommand(1);
  auto* csv_command = import_command->add_subcommand("csv", "Bring in the tasks of a CSV file, as a profile says");
  csv_command->footer("Example: cairn import csv tasks.csv --org acme --profile sip --data-dir .cairn");
  add_settings(*csv_command, flags);
  importer::Options options;
  bool json = false;
  std::vector<std::string> joins;
  csv_command->add_option("file", options.file, "The file")->required();
  csv_command->add_option("--org", options.organization, "Slug or id of the organization")->required();
  csv_command->add_option("--profile", options.profile, "A shipped profile's name, or a file")->required();
  csv_command->add_option("--as", options.as, "E-mail of the owner or administrator who imports");
  csv_command->add_option("--join", joins, "NAME=FILE: read this file where the profile joins NAME");
  csv_command->add_flag("--dry-run", options.dry_run, "Do everything but keep it");
  csv_command->add_flag("--atomic", options.atomic, "Keep nothing unless every row is good");
  csv_command->add_flag("--progress", options.progress, "Show progress even when nobody seems to watch");
  csv_command->add_flag("--json", json, "Print the report as JSON");
  csv_command->callback([&] {
    for (const auto& join : joins) {
      const auto equals = join.find('=');
      if (equals == std::string::npos) throw CLI::ValidationError("--join", "takes NAME=FILE");
      options.joins[join.substr(0, equals)] = join.substr(equals + 1);
    }
    command = [&] { return import_csv(load_config(flags), options, json); };
  });

  auto* audit_command = app.add_subcommand("audit", "Prove that the record is what it was");
  audit_command->require_subcommand(1);
  auto* verify_command =
      audit_command->add_subcommand("verify", "Compare the record with the tables and with its signed checkpoints");
  verify_command->footer("Example: cairn audit verify --against checkpoints.jsonl --data-dir .cairn");
  add_settings(*verify_command, flags);
  std::vector<std::string> keys;
  std::string export_file;
  verify_command->add_option("--against", export_file, "An export of checkpoints, kept elsewhere");
  verify_command->add_option("--public-key", keys, "Trust this key, and not the one in the data directory");
  verify_command->callback([&] { command = [&] { return verify_record(load_config(flags), keys, export_file); }; });
  auto* export_command =
      audit_command->add_subcommand("export-checkpoints", "Print the checkpoints, to keep elsewhere");
  export_command->footer("Example: cairn audit export-checkpoints --data-dir .cairn > checkpoints.jsonl");
  add_settings(*export_command, flags);
  export_command->callback([&] {
    command = [&] {
      fmt::print("{}", audit::export_checkpoints(owner_of_running(load_config(flags))));
      return done;
    };
  });

  AdminWords admin_words;
  add_admin(app, flags, admin_words, command);

  auto* mail_command = app.add_subcommand("testmail", "Send a mail, to see whether the settings are right");
  mail_command->footer("Example: cairn testmail --to ada@example.org --data-dir .cairn");
  add_settings(*mail_command, flags);
  std::string to;
  mail_command->add_option("--to", to, "The address to send it to")->required();
  mail_command->callback([&] { command = [&] { return test_mail(load_config(flags), to); }; });

  auto* openapi_command = app.add_subcommand("openapi", "Print the API's description (OpenAPI 3.1)");
  openapi_command->callback([&] {
    command = [] {
      fmt::print("{}\n", api::openapi(server::make_api(1), {}));
      return done;
    };
  });

  auto* config_command = app.add_subcommand("config", "Look at the settings");
  config_command->require_subcommand(1);
  auto* print_command = config_command->add_subcommand("print", "Print every setting and where it comes from");
  add_settings(*print_command, flags);
  print_command->callback([&] {
    command = [&] {
      fmt::print("{}", print(load_config(flags)));
      return done;
    };
  });
  auto* check_command = config_command->add_subcommand("check", "Say what is wrong with the settings");
  add_settings(*check_command, flags);
  check_command->callback([&] {
    command = [&] {
      load_config(flags);
      fmt::print("the settings are fine\n");
      return done;
    };
  });

  app.add_subcommand("version", "Print the version")->callback([&] {
    command = [] {
      fmt::print("cairn {}\n", CAIRN_VERSION);
      return done;
    };
  });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) { return app.exit(error) == 0 ? done : 2; }
  try {
    return command();
  } catch (const Problem& problem) {
    fmt::print(stderr, "cairn: {}{}{}\n", problem.detail, problem.cause.empty() ? "" : ": ", problem.cause);
  } catch (const std::exception& error) { fmt::print(stderr, "cairn: {}\n", error.what()); }
  return failed;
}

}  // namespace cairn::cli
