#include "base/config.hpp"

#include "base/mailbox.hpp"

#include <fmt/format.h>
#include <toml++/toml.h>
#include <unistd.h>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <type_traits>
#include <variant>

namespace cairn {
namespace {

template<class T>
constexpr std::array<std::string_view, 0> words{};
template<>
constexpr std::array<std::string_view, 3> words<log::Format>{"auto", "json", "console"};
template<>
constexpr std::array<std::string_view, 4> words<log::Level>{"debug", "info", "warn", "error"};
template<>
constexpr std::array<std::string_view, 3> words<log::AccessMode>{"all", "errors", "off"};
template<>
constexpr std::array<std::string_view, 2> words<ProxyHeader>{"x-forwarded", "forwarded"};

template<class T>
constexpr bool is_duration = false;
template<class Rep, class Period>
constexpr bool is_duration<std::chrono::duration<Rep, Period>> = true;

using List = std::vector<std::string>;
// The member of a Config that a setting sets.
using Slot =
    std::variant<std::string*, Secret*, List*, Listen*, bool*, unsigned*, std::size_t*, std::chrono::seconds*,
                 std::chrono::minutes*, std::chrono::hours*, log::Format*, log::Level*, log::AccessMode*, ProxyHeader*>;

enum class Shape { text, list, number, flag };
template<class T>
constexpr Shape shape_of = Shape::text;
template<>
constexpr Shape shape_of<List> = Shape::list;
template<>
constexpr Shape shape_of<bool> = Shape::flag;
template<class T>
requires std::is_integral_v<T> || is_duration<T>
constexpr Shape shape_of<T> = Shape::number;

struct Range {
  std::int64_t min = 0, max = std::numeric_limits<std::int32_t>::max();
};

struct Row {
  Setting setting;
  Slot (*slot)(Config&);
  Range range = {};
};

constexpr Range at_least_one{1};

#define CAIRN_SLOT(member) [](Config& config) -> Slot { return &config.member; }
const Row rows[] = {
    {{"data_dir", "text", "Where the private PostgreSQL and Redis keep their files", false}, CAIRN_SLOT(data_dir)},

    {{"server.listen", "text", "Where to listen: host:port, [::1]:8080 or unix:/path", false},
     CAIRN_SLOT(server.listen)},
    {{"server.threads", "number", "Event loops; 0: one per core", false}, CAIRN_SLOT(server.threads), {0, 1024}},
    {{"server.base_url", "text", "The address that users reach the server at, for links in mails", false},
     CAIRN_SLOT(server.base_url)},
    {{"server.trusted_proxies", "list", "Proxies whose word on their client counts: addresses, CIDR blocks, unix",
      false},
     CAIRN_SLOT(server.trusted_proxies)},
    {{"server.proxy_header", "x-forwarded or forwarded", "Which header fields those proxies write", false},
     CAIRN_SLOT(server.proxy_header)},
    {{"server.drain_seconds", "number", "How long a stop waits for requests in progress", false},
     CAIRN_SLOT(server.drain_seconds),
     {0, 3600}},

    {{"database.url", "text", "PostgreSQL as the runtime role; empty: a private one", true}, CAIRN_SLOT(database.url)},
    {{"database.owner_url", "text", "PostgreSQL as the role that migrates; empty: database.url", true},
     CAIRN_SLOT(database.owner_url)},
    {{"database.read_connections", "number", "Most shared connections for reads, per event loop", false},
     CAIRN_SLOT(database.read_connections),
     {1, 256}},
    {{"database.commit_connections", "number", "Most shared connections for writes of one statement, per event loop",
      false},
     CAIRN_SLOT(database.commit_connections),
     {1, 256}},
    {{"database.write_connections", "number", "Most connections for other writes, per event loop", false},
     CAIRN_SLOT(database.write_connections),
     {1, 256}},

    {{"redis.url", "text", "Redis; empty: a private one", true}, CAIRN_SLOT(redis.url)},

    {{"http.body_bytes", "number", "Largest request body", false}, CAIRN_SLOT(http.body_bytes), at_least_one},
    {{"http.header_bytes", "number", "Largest request line and header together", false},
     CAIRN_SLOT(http.header_bytes),
     {512}},
    {{"http.target_bytes", "number", "Longest request target", false}, CAIRN_SLOT(http.target_bytes), {64}},
    {{"http.headers", "number", "Most header fields of a request", false}, CAIRN_SLOT(http.headers), at_least_one},
    {{"http.connections", "number", "Most client connections, per event loop", false},
     CAIRN_SLOT(http.connections),
     at_least_one},
    {{"http.header_time_seconds", "number", "Time for a request's header to arrive", false},
     CAIRN_SLOT(http.header_time_seconds),
     at_least_one},
    {{"http.body_time_seconds", "number", "Time for a request's body to arrive", false},
     CAIRN_SLOT(http.body_time_seconds),
     at_least_one},
    {{"http.idle_time_seconds", "number", "Time a connection may stay without a request", false},
     CAIRN_SLOT(http.idle_time_seconds),
     at_least_one},
    {{"http.write_time_seconds", "number", "Time a client may take nothing of a reply", false},
     CAIRN_SLOT(http.write_time_seconds),
     at_least_one},

    {{"log.format", "auto, json or console", "auto: console on a terminal, else json", false}, CAIRN_SLOT(log.format)},
    {{"log.level", "debug, info, warn or error", "The least level that is logged", false}, CAIRN_SLOT(log.level)},
    {{"log.access", "all, errors or off", "Which requests are logged", false}, CAIRN_SLOT(log.access)},

    {{"metrics.public", "true or false", "Whether other machines may read /metrics", false},
     CAIRN_SLOT(metrics.is_public)},

    {{"session.absolute_hours", "number", "How long a session lives at most", false},
     CAIRN_SLOT(session.absolute_hours),
     {1, 24 * 365}},
    {{"session.idle_minutes", "number", "How long a session lives without use", false},
     CAIRN_SLOT(session.idle_minutes),
     {1, 60 * 24 * 365}},
    {{"session.refresh_hours", "number", "How long a device stays logged in by refresh tokens", false},
     CAIRN_SLOT(session.refresh_hours),
     {1, 24 * 365}},
    {{"session.max_per_user", "number", "Devices a user may be signed in on; the oldest goes first", false},
     CAIRN_SLOT(session.max_per_user),
     {1, 1000}},

    {{"api_token.max_days", "number", "How long an API token lives at most", false},
     CAIRN_SLOT(api_token.max_days),
     {1, 10 * 365}},

    {{"record.checkpoint_minutes", "number", "How often what is new on the record is signed; 0: not by this server",
      false},
     CAIRN_SLOT(record.checkpoint_minutes),
     {0, 24 * 60}},
    {{"events.streams_per_person", "number", "Live feeds that one person may have open at once", false},
     CAIRN_SLOT(events.streams_per_person),
     {1, 10'000}},
    {{"events.buffer_kib", "number", "Events that may wait for a slow reader before its feed is closed", false},
     CAIRN_SLOT(events.buffer_kib),
     {16, 65'536}},

    {{"password.min_length", "number", "Fewest characters of a new password", false},
     CAIRN_SLOT(password.min_length),
     {8, 256}},
    {{"password.memory_kib", "number", "Memory of one argon2id hash", false},
     CAIRN_SLOT(password.memory_kib),
     {7168, 1024 * 1024}},
    {{"password.iterations", "number", "Passes of one argon2id hash", false}, CAIRN_SLOT(password.iterations), {1, 64}},
    {{"password.queue", "number", "Hashes that may wait before new ones are refused", false},
     CAIRN_SLOT(password.queue),
     {1, 100'000}},

    {{"registration.open", "true or false", "Whether anyone may create an account", false},
     CAIRN_SLOT(registration.open)},

    {{"limits.read", "number", "Reads a minute, of one operation by one session or address; 0: no limit", false},
     CAIRN_SLOT(limits.read)},
    {{"limits.write", "number", "Writes a minute, of one operation by one session or address", false},
     CAIRN_SLOT(limits.write)},
    {{"limits.login", "number", "Logins a minute from one address", false}, CAIRN_SLOT(limits.login)},
    {{"limits.mail", "number", "Mails asked for a minute from one address", false}, CAIRN_SLOT(limits.mail)},
    {{"limits.register", "number", "Registrations a minute from one address", false}, CAIRN_SLOT(limits.registration)},
    {{"limits.token", "number", "Renewed tokens a minute from one address", false}, CAIRN_SLOT(limits.token)},
    {{"limits.account", "number", "Logins a minute to one account before each counts several times", false},
     CAIRN_SLOT(limits.account)},
    {{"limits.failures", "number", "Tokens a minute from one address that are not valid", false},
     CAIRN_SLOT(limits.failures)},

    {{"mail.url", "text", "SMTP server: smtp://host:587 or smtps://host:465; empty: mails become files", false},
     CAIRN_SLOT(mail.url)},
    {{"mail.user", "text", "Whom to log in to the SMTP server as; empty: nobody", false}, CAIRN_SLOT(mail.user)},
    {{"mail.password", "text", "The password for mail.user", true}, CAIRN_SLOT(mail.password)},
    {{"mail.from", "text", "Sender of all mails: an address, or Name <address>", false}, CAIRN_SLOT(mail.from)},
    {{"mail.require_tls", "true or false", "Whether smtp:// must be encrypted with STARTTLS", false},
     CAIRN_SLOT(mail.require_tls)},
    {{"mail.ca_file", "text", "Certificates to trust the SMTP server by; empty: the system's", false},
     CAIRN_SLOT(mail.ca_file)},
    {{"mail.deliver", "true or false", "Whether this server sends the mails that are queued", false},
     CAIRN_SLOT(mail.deliver)},
};
#undef CAIRN_SLOT

// Variables that are not settings, read by the commands themselves.
constexpr std::array<std::string_view, 5> reserved{"CAIRN_CONFIG", "CAIRN_SERVER", "CAIRN_TOKEN", "CAIRN_CAMPAIGN",
                                                   "CAIRN_SEED"};

template<class T>
std::string set_number(T& to, std::string_view text, Range range) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || end != text.data() + text.size()) return fmt::format("is no whole number: '{}'", text);
  if (number < range.min || number > range.max) {
    return fmt::format("must be from {} to {}, not {}", range.min, range.max, number);
  }
  if constexpr (is_duration<T>) {
    to = T{number};
  } else {
    to = static_cast<T>(number);
  }
  return {};
}

// Trimmed parts between commas; empty ones are left out.
List split(std::string_view text) {
  List parts;
  while (!text.empty()) {
    const auto comma = std::min(text.find(','), text.size());
    std::string_view part = text.substr(0, comma);
    text.remove_prefix(std::min(comma + 1, text.size()));
    while (part.starts_with(' ')) part.remove_prefix(1);
    while (part.ends_with(' ')) part.remove_suffix(1);
    if (!part.empty()) parts.emplace_back(part);
  }
  return parts;
}

// What is wrong with `text` as that setting's value; empty when it was stored.
std::string set(Config& config, const Row& row, std::string_view text) {
  return std::visit(
      [&]<class T>(T* to) -> std::string {
        if constexpr (!words<T>.empty()) {
          const auto found = std::ranges::find(words<T>, text);
          if (found == words<T>.end()) return fmt::format("must be {}, not '{}'", row.setting.type, text);
          *to = static_cast<T>(found - words<T>.begin());
        } else if constexpr (shape_of<T> == Shape::number) {
          return set_number(*to, text, row.range);
        } else if constexpr (shape_of<T> == Shape::flag) {
          if (text != "true" && text != "false") return fmt::format("must be true or false, not '{}'", text);
          *to = text == "true";
        } else if constexpr (shape_of<T> == Shape::list) {
          *to = split(text);
        } else if constexpr (std::is_same_v<T, Listen>) {
          const auto parsed = Listen::parse(text);
          if (!parsed) return fmt::format("must be host:port, [address]:port or unix:/path, not '{}'", text);
          *to = *parsed;
        } else if constexpr (std::is_same_v<T, Secret>) {
          if (text.size() > Secret::max) return fmt::format("is longer than {} bytes", Secret::max);
          *to = Secret(std::string(text));
        } else {
          *to = text;
        }
        return {};
      },
      row.slot(config));
}

// The value as TOML; secrets are never asked for.
std::string toml_text(Config& config, const Row& row) {
  std::ostringstream out;
  const auto write = [&](const auto& node) { out << toml::toml_formatter{node, toml::format_flags::none}; };
  std::visit(
      [&]<class T>(T* from) {
        if constexpr (!words<T>.empty()) {
          write(toml::value<std::string>(words<T>[static_cast<std::size_t>(*from)]));
        } else if constexpr (is_duration<T>) {
          out << from->count();
        } else if constexpr (std::is_same_v<T, bool>) {
          out << (*from ? "true" : "false");
        } else if constexpr (std::is_integral_v<T>) {
          out << *from;
        } else if constexpr (std::is_same_v<T, List>) {
          toml::array items;
          for (const auto& item : *from) items.push_back(item);
          write(items);
        } else if constexpr (std::is_same_v<T, Listen>) {
          write(toml::value<std::string>(from->text()));
        } else if constexpr (std::is_same_v<T, std::string>) {
          write(toml::value<std::string>(*from));
        }
      },
      row.slot(config));
  return out.str();
}

std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({replaced, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row.back();
}

// "; did you mean ...?" with the nearest of the names that `spelling` gives the settings; empty when none is near.
template<class Spelling>
std::string suggestion(std::string_view name, Spelling spelling) {
  std::string best;
  std::size_t best_distance = name.size() / 2 + 1;
  for (const Row& row : rows) {
    const std::string candidate = spelling(row.setting);
    if (const auto d = distance(name, candidate); d < best_distance) {
      best_distance = d;
      best = candidate;
    }
  }
  return best.empty() ? "" : fmt::format("; did you mean {}?", best);
}

const Row* find(std::string_view name) {
  const auto* found = std::ranges::find(rows, name, [](const Row& row) { return row.setting.name; });
  return found == std::end(rows) ? nullptr : found;
}

std::optional<std::string> lookup(const Pairs& pairs, std::string_view name) {
  const auto found = std::ranges::find(pairs, name, &Pairs::value_type::first);
  if (found == pairs.end()) return std::nullopt;
  return found->second;
}

std::string as_name(const Setting& setting) { return std::string(setting.name); }
std::string as_flag(const Setting& setting) { return "--" + setting.flag(); }
std::string as_environment(const Setting& setting) { return setting.environment(); }

class Loader {
 public:
  explicit Loader(const Sources& sources) : sources_(sources) {}

  Config load() {
    read_file();
    read_environment();
    read_flags();
    check();
    if (!problems_.empty()) throw ConfigError(problems_);
    return std::move(config_);
  }

 private:
  void complain(std::string_view place, std::string_view problem) {
    if (!problems_.empty()) problems_ += '\n';
    fmt::format_to(std::back_inserter(problems_), "{}: {}", place, problem);
  }

  void assign(const Row& row, std::string_view text, const std::string& origin, std::string_view place) {
    if (const auto problem = set(config_, row, text); !problem.empty()) {
      complain(place, fmt::format("{} {}", row.setting.name, problem));
    } else {
      config_.origins.insert_or_assign(std::string(row.setting.name), origin);
    }
  }

  void read_file() {
    auto path = sources_.file;
    if (!path) path = lookup(sources_.environment, "CAIRN_CONFIG");
    if (!path) {
      // The file in data_dir is looked for where the command line or the environment puts data_dir.
      auto data_dir = flag("data_dir");
      if (!data_dir) data_dir = lookup(sources_.environment, "CAIRN_DATA_DIR");
      const auto own = std::filesystem::path(data_dir.value_or(config_.data_dir)) / "cairn.toml";
      std::error_code ignored;
      if (std::filesystem::exists(own, ignored)) {
        path = own.string();
      } else if (std::filesystem::exists(sources_.system_file, ignored)) {
        path = sources_.system_file;
      } else {
        return;
      }
    }
    std::ifstream stream(*path, std::ios::binary);
    const std::string text(std::istreambuf_iterator<char>(stream), {});
    if (!stream) return complain(*path, "cannot be read");
    try {
      read_table(toml::parse(text, *path), "", *path);
    } catch (const toml::parse_error& error) { complain(place(*path, error.source()), error.description()); }
  }

  static std::string place(const std::string& path, const toml::source_region& region) {
    return fmt::format("{}:{}:{}", path, region.begin.line, region.begin.column);
  }

  void read_table(const toml::table& table, const std::string& prefix, const std::string& path) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      const Row* row = find(name);
      if (row) {
        read_node(*row, node, path);
      } else if (const auto* inner = node.as_table(); inner && (!inner->empty() || is_section(name))) {
        read_table(*inner, name + '.', path);
      } else {
        complain(place(path, key.source()), fmt::format("no setting {}{}", name, suggestion(name, as_name)));
      }
    }
  }

  static bool is_section(const std::string& name) {
    return std::ranges::any_of(rows, [&](const Row& row) { return row.setting.name.starts_with(name + '.'); });
  }

  void read_node(const Row& row, const toml::node& node, const std::string& path) {
    const auto shape = std::visit([]<class T>(T*) { return shape_of<T>; }, row.slot(config_));
    const std::string where = place(path, node.source());
    const std::string origin = fmt::format("{}:{}", path, node.source().begin.line);
    const auto wrong = [&](std::string_view wanted) {
      complain(where, fmt::format("{} must be {}", row.setting.name, wanted));
    };
    switch (shape) {
      case Shape::text: {
        const auto text = node.value_exact<std::string>();
        return text ? assign(row, *text, origin, where) : wrong("text in quotes");
      }
      case Shape::number: {
        const auto number = node.value_exact<std::int64_t>();
        return number ? assign(row, std::to_string(*number), origin, where) : wrong("a whole number");
      }
      case Shape::flag: {
        const auto flag = node.value_exact<bool>();
        return flag ? assign(row, *flag ? "true" : "false", origin, where) : wrong("true or false");
      }
      case Shape::list: {
        const auto* items = node.as_array();
        if (!items || (!items->empty() && !items->is_homogeneous<std::string>())) return wrong("a list of texts");
        std::string joined;
        for (const auto& item : *items) joined += *item.value<std::string>() + ',';
        return assign(row, joined, origin, where);
      }
    }
  }

  void read_environment() {
    std::map<std::string, const Row*, std::less<>> names;
    for (const Row& row : rows) names.emplace(row.setting.environment(), &row);
    for (const auto& [name, value] : sources_.environment) {
      if (!name.starts_with("CAIRN_") || std::ranges::find(reserved, name) != reserved.end()) continue;
      if (const auto found = names.find(name); found != names.end()) {
        assign(*found->second, value, name, name);
        continue;
      }
      constexpr std::string_view suffix = "_FILE";
      const auto base = name.substr(0, name.size() - std::min(name.size(), suffix.size()));
      const auto found = name.ends_with(suffix) ? names.find(base) : names.end();
      if (found != names.end() && found->second->setting.secret) {
        read_secret(*found->second, name, value);
      } else {
        complain(name, "no such setting" + suggestion(name, as_environment));
      }
    }
  }

  void read_secret(const Row& row, const std::string& name, const std::string& path) {
    if (lookup(sources_.environment, row.setting.environment())) {
      return complain(name, fmt::format("{} is set as well", row.setting.environment()));
    }
    std::ifstream stream(path, std::ios::binary);
    std::string text(std::istreambuf_iterator<char>(stream), {});
    if (!stream) return complain(name, fmt::format("cannot read {}", path));
    while (text.ends_with('\n') || text.ends_with('\r')) text.pop_back();
    assign(row, text, name, name);
  }

  std::optional<std::string> flag(std::string_view setting) const {
    for (const auto& [name, value] : sources_.flags) {
      if (const Row* row = find_flag(name); row && row->setting.name == setting) return value;
    }
    return std::nullopt;
  }

  static const Row* find_flag(std::string_view name) {
    const auto* found = std::ranges::find_if(
        rows, [&](const Row& row) { return row.setting.name == name || row.setting.flag() == name; });
    return found == std::end(rows) ? nullptr : found;
  }

  void read_flags() {
    for (const auto& [name, value] : sources_.flags) {
      const std::string spelled = "--" + name;
      if (const Row* row = find_flag(name)) {
        assign(*row, value, as_flag(row->setting), as_flag(row->setting));
      } else {
        complain(spelled, "no such setting" + suggestion(spelled, as_flag));
      }
    }
  }

  // What no single value shows.
  void check() {
    const auto reject = [&](std::string_view name, std::string_view problem) {
      const auto origin = config_.origins.find(name);
      complain(origin == config_.origins.end() ? "default" : origin->second, fmt::format("{} {}", name, problem));
    };
    if (config_.data_dir.empty()) reject("data_dir", "must not be empty");
    if (const auto& url = config_.server.base_url; !url.empty()) {
      if (const auto problem = url_problem(url, 255); !problem.empty()) {
        reject("server.base_url", problem);
      } else if (url.ends_with('/')) {
        reject("server.base_url", "must not end with a slash");
      }
    }
    for (const auto& proxy : config_.server.trusted_proxies) {
      if (proxy != "unix" && !is_network(proxy))
        reject("server.trusted_proxies", fmt::format("'{}' is no address or CIDR block", proxy));
    }
    if (config_.session.idle_minutes > config_.session.absolute_hours) {
      reject("session.idle_minutes", "is longer than session.absolute_hours");
    }
    if (config_.http.target_bytes >= config_.http.header_bytes) {
      reject("http.target_bytes", "must be less than http.header_bytes");
    }
    check_mail(reject);
    if (!config_.database.owner_url.reveal().empty() && config_.database.url.reveal().empty()) {
      reject("database.owner_url", "needs database.url");
    }
  }

  void check_mail(const auto& reject) const {
    const auto& mail = config_.mail;
    if (!mail.from.empty() && !Mailbox::parse(mail.from)) reject("mail.from", "is no address and no Name <address>");
    if (mail.url.empty()) return;
    const bool secure = mail.url.starts_with("smtps://");
    const auto host = std::string_view(mail.url).substr(secure ? 8 : std::min<std::size_t>(mail.url.size(), 7));
    if ((!secure && !mail.url.starts_with("smtp://")) || host.empty() || host.find_first_of("/@ ") != host.npos)
      reject("mail.url", "must be smtp://host:port or smtps://host:port; the login belongs to mail.user");
    if (mail.from.empty()) reject("mail.url", "needs mail.from");
    if (mail.user.empty() != mail.password.reveal().empty()) reject("mail.user", "and mail.password need each other");
    if (!mail.user.empty() && !secure && !mail.require_tls) reject("mail.user", "needs mail.require_tls or smtps://");
  }

  static bool is_network(const std::string& text) {
    namespace ip = boost::asio::ip;
    boost::system::error_code error;
    if (text.find('/') == std::string::npos) {
      ip::make_address(text, error);
      return !error;
    }
    ip::make_network_v4(text, error);
    if (!error) return true;
    ip::make_network_v6(text, error);
    return !error;
  }

  const Sources& sources_;
  Config config_;
  std::string problems_;
};

}  // namespace

std::optional<Listen> Listen::parse(std::string_view text) {
  Listen listen;
  if (constexpr std::string_view scheme = "unix:"; text.starts_with(scheme)) {
    listen.unix_path = text.substr(scheme.size());
    if (!listen.unix_path.starts_with('/')) return std::nullopt;
    listen.host.clear();
    return listen;
  }
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = text.substr(0, colon), port = text.substr(colon + 1);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos) return std::nullopt;
  } else if (host.find_first_of(":[]/ ") != std::string_view::npos) {
    return std::nullopt;
  }
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), listen.port);
  if (host.empty() || error != std::errc{} || end != port.data() + port.size()) return std::nullopt;
  listen.host = host;
  return listen;
}

std::string Listen::text() const {
  if (!unix_path.empty()) return "unix:" + unix_path;
  return host.find(':') == std::string::npos ? fmt::format("{}:{}", host, port) : fmt::format("[{}]:{}", host, port);
}

std::string Setting::flag() const {
  std::string_view rest = name;
  if (constexpr std::string_view implied = "server."; rest.starts_with(implied)) rest.remove_prefix(implied.size());
  std::string flag(rest);
  std::ranges::replace_if(
      flag, [](char c) { return c == '.' || c == '_'; }, '-');
  return flag;
}

std::string Setting::environment() const {
  std::string variable = "CAIRN_";
  for (char c : name) {
    if (c == '.') {
      variable += "__";
    } else {
      variable += c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    }
  }
  return variable;
}

std::span<const Setting> settings() {
  static const auto all = [] {
    std::vector<Setting> list;
    for (const Row& row : rows) list.push_back(row.setting);
    return list;
  }();
  return all;
}

Pairs process_environment() {
  Pairs pairs;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (const auto equals = text.find('='); equals != std::string_view::npos) {
      pairs.emplace_back(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return pairs;
}

Config load(const Sources& sources) { return Loader(sources).load(); }

std::string print(const Config& config) {
  Config copy = config;
  std::string out, section;
  for (const Row& row : rows) {
    const std::string_view name = row.setting.name;
    const auto dot = name.find('.');
    if (dot != std::string_view::npos && name.substr(0, dot) != section) {
      section = name.substr(0, dot);
      fmt::format_to(std::back_inserter(out), "\n[{}]\n", section);
    }
    const std::string_view key = dot == std::string_view::npos ? name : name.substr(dot + 1);
    const auto origin = config.origins.find(name);
    const std::string_view from = origin == config.origins.end() ? "default" : std::string_view(origin->second);
    if (row.setting.secret) {
      const bool is_set = !std::get<Secret*>(row.slot(copy))->reveal().empty();
      fmt::format_to(std::back_inserter(out), "# {} is {}  ({})\n", key, is_set ? "set, but secret" : "empty", from);
    } else {
      fmt::format_to(std::back_inserter(out), "{} = {}  # {}\n", key, toml_text(copy, row), from);
    }
  }
  return out;
}

}  // namespace cairn
