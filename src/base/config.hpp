#pragma once
#include "base/log.hpp"
#include "base/text.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cairn {

// Where the server listens: "host:port", "[::1]:8080" or "unix:/path".
struct Listen {
  Listen() = default;
  static std::optional<Listen> parse(std::string_view text);
  std::string text() const;

  std::string host = "127.0.0.1";  // an address or a name; empty when unix_path is set
  std::uint16_t port = 8080;       // 0: any free port
  std::string unix_path;
};

// Which fields a trusted proxy writes. A proxy passes the other kind on as its client sent it, so only one can count.
enum class ProxyHeader { x_forwarded, forwarded };

// Everything an operator can set. The member a.b is the key b of the table [a] in the file, CAIRN_A__B in the
// environment and `--a-b` on the command line (without "server-"). The initialisers are the defaults.
struct Config {
  Config() = default;

  std::string data_dir = ".cairn";

  struct Server {
    Listen listen;
    unsigned threads = 0;                      // 0: one per core
    std::string base_url;                      // as users reach it, without a slash at the end; empty: from `listen`
    std::vector<std::string> trusted_proxies;  // addresses, CIDR blocks or "unix", whose word on their client counts
    ProxyHeader proxy_header = ProxyHeader::x_forwarded;
    std::chrono::seconds drain_seconds{20};
  } server;

  struct Database {
    Secret url;                       // of the runtime role; empty: the private PostgreSQL in data_dir
    Secret owner_url;                 // of the role that migrates; empty: `url`
    unsigned read_connections = 2;    // per core
    unsigned commit_connections = 4;  // per core
    unsigned write_connections = 4;   // per core
  } database;

  struct Redis {
    Secret url;  // empty: the private Redis in data_dir
  } redis;

  struct Http {
    std::size_t body_bytes = 1024 * 1024;
    std::size_t header_bytes = 16 * 1024;
    std::size_t target_bytes = 8 * 1024;
    unsigned headers = 64;
    unsigned connections = 4096;  // per core
    std::chrono::seconds header_time_seconds{10}, body_time_seconds{30}, idle_time_seconds{60}, write_time_seconds{30};
  } http;

  struct Log {
    log::Format format = log::Format::automatic;
    log::Level level = log::Level::info;
    log::AccessMode access = log::AccessMode::all;
  } log;

  struct Metrics {
    bool is_public = false;  // metrics.public; false: only peers on this machine see /metrics
  } metrics;

  struct Session {
    std::chrono::hours absolute_hours{24};
    std::chrono::minutes idle_minutes{60};
    std::chrono::hours refresh_hours{30 * 24};
    unsigned max_per_user = 10;
  } session;

  struct ApiToken {
    unsigned max_days = 365;
  } api_token;

  struct Password {
    unsigned min_length = 15;  // characters
    unsigned memory_kib = 19'456;
    unsigned iterations = 2;
    unsigned queue = 32;  // hashes that may wait before a 503
  } password;

  struct Registration {
    bool open = true;
  } registration;

  // Requests a minute; 0: no limit.
  struct Limits {
    unsigned read = 3000, write = 1200;  // of one operation, by one session or token, or one address without
    unsigned login = 20, mail = 10, registration = 10, token = 60;  // by one address
    unsigned account = 60;    // logins to, or mails for, one account; beyond, each counts several times for its address
    unsigned failures = 300;  // tokens that are not valid, by one address
  } limits;

  struct Record {
    std::chrono::minutes checkpoint_minutes{60};  // 0: other servers on this database make them
  } record;

  // The live feed.
  struct Events {
    unsigned streams_per_person = 20;  // open at once, of one server
    unsigned buffer_kib = 1024;        // that wait for one slow reader
  } events;

  struct Mail {
    std::string url;  // smtp://host:587 or smtps://host:465; empty: mails become files in data_dir
    std::string user;
    Secret password;
    std::string from;         // "Cairn <cairn@example.org>" or the address alone
    bool require_tls = true;  // with smtp://: no mail goes out before STARTTLS
    std::string ca_file;      // certificates to trust instead of the system's
    bool deliver = true;      // false: other servers on this database send what is queued
  } mail;

  // Where each value that is not a default came from: "log.level" -> "CAIRN_LOG__LEVEL".
  std::map<std::string, std::string, std::less<>> origins;
};

// One thing an operator can set, for help texts, command-line flags and documentation.
struct Setting {
  std::string_view name;  // "server.listen"
  std::string_view type;  // "text", "number", "yes or no", "one of auto, json, console", ...
  std::string_view help;
  bool secret;                      // never printed; CAIRN_A__B_FILE names a file that holds it
  std::string flag() const;         // "listen", without the dashes
  std::string environment() const;  // "CAIRN_SERVER__LISTEN"
};
std::span<const Setting> settings();

using Pairs = std::vector<std::pair<std::string, std::string>>;
struct Sources {
  Sources() = default;
  // The file to read, which must exist; absent: CAIRN_CONFIG, else <data_dir>/cairn.toml, else system_file, if there.
  std::optional<std::string> file;
  std::string system_file = "/etc/cairn/cairn.toml";
  Pairs environment;  // names that do not start with CAIRN_ are ignored
  Pairs flags;        // by Setting::name or Setting::flag()
};
// This process's environment.
Pairs process_environment();

// Every problem found, one per line, each with its place ("cairn.toml:3:8: ...") and, for a name that does not exist,
// the nearest that does. Never the value of a secret.
class ConfigError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Defaults, overridden by the file, overridden by the environment, overridden by the flags. Throws ConfigError.
Config load(const Sources& sources);

// Every setting as TOML that load() accepts, each with its origin in a comment; secrets are commented out.
std::string print(const Config& config);

}  // namespace cairn
