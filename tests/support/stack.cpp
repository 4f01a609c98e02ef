#include "support/stack.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <array>
#include <atomic>
#include <charconv>
#include <stdexcept>

#include "api/openapi.hpp"
#include "pg/migrate.hpp"
#include "support/redis.hpp"

namespace cairn::support {
namespace {

namespace fs = std::filesystem;
namespace bj = boost::json;

void expect_specified_keys() { EXPECT_EQ(redis_key_problems(), std::vector<std::string>{}); }

// Whatever a test makes a server do, what is in Redis afterwards is what the specification allows.
class KeysAfterEachTest : public testing::EmptyTestEventListener {
  void OnTestEnd(const testing::TestInfo&) override { expect_specified_keys(); }
};

// Children that end with the process, in a directory that they can search although they are not root.
class PrivateServers {
 public:
  PrivateServers() {
    std::string name = (fs::temp_directory_path() / "cairn-test-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    directory_ = name;
    fs::permissions(directory_, fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec);
    embedded::Options options;
    options.data_dir = directory_ / "data";
    options.durable = false;
    servers_.emplace(std::move(options));
    endpoints_ = servers_->start();
    testing::UnitTest::GetInstance()->listeners().Append(new KeysAfterEachTest);
  }
  ~PrivateServers() {
    servers_->stop();
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }
  PrivateServers(const PrivateServers&) = delete;
  PrivateServers& operator=(const PrivateServers&) = delete;

  const embedded::Endpoints& endpoints() const { return endpoints_; }
  const fs::path& directory() const { return directory_; }

 private:
  fs::path directory_;
  std::optional<embedded::Servers> servers_;
  embedded::Endpoints endpoints_;
};

// libpq takes the last of two values.
std::string in_database(const std::string& conninfo, const std::string& name) { return conninfo + " dbname=" + name; }

// The database that every sandbox is a copy of.
const std::string& pattern() {
  static const std::string name = [] {
    const std::string made = "sandbox_pattern";
    Database(servers().superuser_url).run("create database " + made + " owner cairn_owner");
    pg::migrate(in_database(servers().owner_url, made));
    return made;
  }();
  return name;
}

// What has arrived of content in chunks; whether that is all of it.
bool dechunk(std::string_view wire, std::string& content) {
  content.clear();
  for (;;) {
    const auto line = wire.find("\r\n");
    if (line == std::string_view::npos) return false;
    const auto size = std::stoul(std::string(wire.substr(0, line)), nullptr, 16);
    wire.remove_prefix(line + 2);
    if (size == 0) return wire.starts_with("\r\n");
    content.append(wire.substr(0, size));
    if (wire.size() < size + 2) return false;
    wire.remove_prefix(size + 2);
  }
}

const PrivateServers& private_servers() {
  static const PrivateServers servers;
  return servers;
}

}  // namespace

const embedded::Endpoints& servers() { return private_servers().endpoints(); }

Database::Database(const std::string& conninfo) : connection_(PQconnectdb(conninfo.c_str())) {
  if (PQstatus(raw()) != CONNECTION_OK) throw std::runtime_error(PQerrorMessage(raw()));
  PQsetNoticeProcessor(
      raw(), [](void*, const char*) {}, nullptr);
}

Database::Rows Database::rows(const std::string& sql) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(raw(), sql.c_str()), PQclear);
  const auto status = PQresultStatus(result.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) throw std::runtime_error(PQerrorMessage(raw()));
  Rows rows(static_cast<std::size_t>(PQntuples(result.get())));
  for (std::size_t i = 0; i < rows.size(); ++i)
    for (int column = 0; column < PQnfields(result.get()); ++column)
      rows[i].emplace_back(PQgetisnull(result.get(), static_cast<int>(i), column)
                               ? "NULL"
                               : PQgetvalue(result.get(), static_cast<int>(i), column));
  return rows;
}

std::string Database::value(const std::string& sql) {
  const auto found = rows(sql);
  if (found.empty() || found.front().empty()) throw std::runtime_error("no row: " + sql);
  return found.front().front();
}

std::string Database::failure(const std::string& sql) {
  const std::unique_ptr<PGresult, decltype(&PQclear)> result(PQexec(raw(), sql.c_str()), PQclear);
  const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  return state ? state : "";
}

std::string Database::digest() {
  std::string each;
  for (const auto& table : rows("select format('%I.%I', schemaname, tablename) from pg_tables "
                                "where schemaname in ('public', 'app') and tablename <> 'denials' order by 1"))
    each += fmt::format(
        "{}select '{}' || coalesce(md5(string_agg(t::text, chr(10) order by t::text)), '') as one from {} t{}",
        each.empty() ? "" : " union all ", table[0], table[0],
        table[0] == "public.audit_logs" ? " where coalesce(metadata->>'outcome', '') <> 'denied'" : "");
  return value("select md5(string_agg(one, ' ' order by one)) from (" + each + ") all_tables");
}

Sandbox::Sandbox() {
  static std::atomic<unsigned> count{0};
  name_ = fmt::format("sandbox_{}", ++count);
  Database(servers().superuser_url).run(fmt::format("create database {} template {}", name_, pattern()));
  app_url = in_database(servers().app_url, name_);
  owner_url = in_database(servers().owner_url, name_);
  superuser_url = in_database(servers().superuser_url, name_);
}

Sandbox::~Sandbox() {
  try {
    Database(servers().superuser_url).run(fmt::format("drop database {} with (force)", name_));
  } catch (const std::exception& error) { ADD_FAILURE() << error.what(); }
}

std::vector<std::string> redis(const std::vector<std::string>& command) {
  if (command.front() == "FLUSHALL") expect_specified_keys();
  return redis(command, servers().redis_socket);
}

std::vector<std::string> redis(const std::vector<std::string>& command, const std::string& socket) {
  const std::unique_ptr<redisContext, decltype(&redisFree)> context(redisConnectUnix(socket.c_str()), redisFree);
  if (!context || context->err) throw std::runtime_error("Redis cannot be reached");
  std::vector<const char*> words;
  std::vector<std::size_t> sizes;
  for (const auto& word : command) {
    words.push_back(word.data());
    sizes.push_back(word.size());
  }
  const std::unique_ptr<void, decltype(&freeReplyObject)> answer(
      redisCommandArgv(context.get(), static_cast<int>(words.size()), words.data(), sizes.data()), freeReplyObject);
  const auto* reply = static_cast<const redisReply*>(answer.get());
  if (!reply || reply->type == REDIS_REPLY_ERROR) throw std::runtime_error(reply ? reply->str : context->errstr);
  std::vector<std::string> found;
  const auto add = [&found](const redisReply& item) {
    if (item.type == REDIS_REPLY_INTEGER)
      found.push_back(std::to_string(item.integer));
    else if (item.type != REDIS_REPLY_NIL)
      found.emplace_back(item.str, item.len);
  };
  if (reply->type == REDIS_REPLY_ARRAY)
    for (std::size_t i = 0; i < reply->elements; ++i) add(*reply->element[i]);
  else
    add(*reply);
  return found;
}

FrozenRedis::FrozenRedis() {
  const auto info = redis({"INFO", "server"}).at(0);
  const auto at = info.find("process_id:") + 11;
  std::from_chars(info.data() + at, info.data() + info.size(), pid_);
  if (pid_ <= 1 || kill(pid_, SIGSTOP) != 0) throw std::runtime_error("Redis cannot be stopped");
}
FrozenRedis::~FrozenRedis() { kill(pid_, SIGCONT); }

void Client::disconnect() {
  if (socket_ >= 0) close(std::exchange(socket_, -1));
}

// One request and its reply; false when the connection ended before the first byte of the reply.
bool Client::exchange(const std::string& request, bool has_body, Reply& reply) {
  if (socket_ < 0) {
    socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const timeval patience{30, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const int now = 1;
    setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &now, sizeof now);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port_);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      disconnect();
      throw Unreachable("the server cannot be reached");
    }
  }
  // A server that refuses a large body early stops reading it: its answer counts, not our failure to send the rest.
  for (std::size_t sent = 0; sent < request.size();) {
    const auto n = ::send(socket_, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) break;
    sent += static_cast<std::size_t>(n);
  }
  std::string text;
  std::size_t head = std::string::npos, length = 0;
  bool chunked = false;
  const auto complete = [&] {
    if (head == std::string::npos) return false;
    if (!chunked) return text.size() >= head + 4 + length;
    const bool all = dechunk(std::string_view(text).substr(head + 4), reply.body);
    // Events have no end: the first is taken for the whole.
    const bool enough =
        reply.header("content-type") == "text/event-stream" && reply.body.find("\n\n") != std::string::npos;
    if (!all && enough) disconnect();
    return all || enough;
  };
  for (std::array<char, 65536> part; !complete();) {
    const auto n = recv(socket_, part.data(), part.size(), 0);
    if (n <= 0) {
      disconnect();
      if (text.empty()) return false;
      throw std::runtime_error("the reply ends early: " + text.substr(0, 500));
    }
    text.append(part.data(), static_cast<std::size_t>(n));
    if (head != std::string::npos || (head = text.find("\r\n\r\n")) == std::string::npos) continue;
    reply = Reply();
    reply.status = static_cast<unsigned>(std::stoul(text.substr(9, 3)));
    for (auto at = text.find("\r\n"); at < head;) {
      const auto end = text.find("\r\n", at + 2);
      const auto line = text.substr(at + 2, end - at - 2);
      const auto colon = line.find(": ");
      auto name = line.substr(0, colon);
      for (char& c : name)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      reply.headers.emplace_back(std::move(name), colon == std::string::npos ? "" : line.substr(colon + 2));
      at = end;
    }
    chunked = has_body && reply.header("transfer-encoding") == "chunked";
    if (has_body && !chunked && reply.status != 204 && reply.status != 304)
      length = std::stoul(reply.header("content-length"));
  }
  if (!chunked) reply.body = text.substr(head + 4);
  if (reply.header("connection") == "close") disconnect();
  return true;
}

Reply Client::send(std::string_view method, std::string_view path, std::string_view body,
                   const std::vector<std::string>& extra) {
  const auto target = path.starts_with("//") ? std::string(path.substr(1)) : "/api/v1" + std::string(path);
  auto request = fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\n", method, target);
  if (!token.empty()) request += "Authorization: Bearer " + token + "\r\n";
  bool typed = body.empty();
  for (const auto& line : extra) {
    request += line + "\r\n";
    typed = typed || line.starts_with("Content-Type:");
  }
  if (!typed) request += "Content-Type: application/json\r\n";
  if (!body.empty() || method == "POST" || method == "PATCH")
    request += fmt::format("Content-Length: {}\r\n", body.size());
  request += "\r\n";
  request += body;

  Reply reply;
  const bool again = socket_ >= 0 && sends_again;
  // A kept-alive connection may have ended meanwhile (RFC 9112 section 9.3.1).
  if (!exchange(request, method != "HEAD", reply) && !(again && exchange(request, method != "HEAD", reply)))
    throw std::runtime_error("no reply to " + std::string(method) + " " + target);
  const auto problem = contract_.problem(method, target, reply);
  EXPECT_EQ(problem, "");
  return reply;
}

std::vector<bj::value> Client::all(const std::string& list, unsigned* pages) {
  std::vector<bj::value> rows;
  std::string cursor;
  do {
    const auto joint = list.find('?') == std::string::npos ? "?" : "&";
    const auto reply = get(cursor.empty() ? list : list + joint + "cursor=" + cursor);
    if (reply.status != 200) throw std::runtime_error(list + ": " + reply.body);
    const auto page = reply.json();
    for (const auto& row : page.at("data").as_array()) rows.push_back(row);
    cursor = page.at("next_cursor").is_null() ? "" : text_of(page, "next_cursor");
    if (pages) ++*pages;
  } while (!cursor.empty());
  return rows;
}

Stack::Stack(std::shared_ptr<Sandbox> sandbox, const Adjust& adjust) : sandbox_(std::move(sandbox)) {
  Config config;
  config.data_dir = private_servers().directory() / "server";
  config.server.listen.port = 0;
  config.server.threads = 2;
  config.server.drain_seconds = std::chrono::seconds(0);
  config.log.access = log::AccessMode::off;
  config.password.memory_kib = 8;
  config.password.iterations = 1;
  auto& limits = config.limits;
  for (auto* limit : {&limits.read, &limits.write, &limits.login, &limits.mail, &limits.registration, &limits.token,
                      &limits.account, &limits.failures})
    *limit = 1'000'000;
  config.mail.deliver = false;
  config.record.checkpoint_minutes = std::chrono::minutes(0);
  if (adjust) adjust(config);
  mails_ = !config.mail.url.empty();
  server::Backends backends;
  backends.database_url = sandbox_->app_url;
  const auto& own_redis = config.redis.url.reveal();
  backends.redis_url = own_redis.empty() ? servers().redis_socket : own_redis;
  server_ = std::make_unique<server::Server>(std::move(config), std::move(backends));
  server_->start();
  contract_ = std::make_unique<Contract>(bj::parse(api::openapi(server_->api(), "")));
}

Stack::~Stack() { server_->stop(); }

Database Stack::database() const {
  Database database(sandbox_->superuser_url);
  database.run("select set_config('app.system', 'test', false)");
  return database;
}

std::unique_ptr<Client> Stack::with_token(std::string token) const {
  auto client = std::make_unique<Client>(server_->port(), *contract_);
  client->token = std::move(token);
  return client;
}

std::unique_ptr<Client> Stack::person(std::string_view name) const {
  auto made = with_token({});
  const auto account = made->post("/accounts", fmt::format(R"({{"email":"{}","password":"{}","first_name":"{}",)"
                                                           R"("last_name":"Example"}})",
                                                           email(name), password, name));
  if (account.status != 201) throw std::runtime_error("no account: " + account.body);
  if (mails_) database().run(fmt::format("update users set email_verified = true where email = '{}'", email(name)));
  const auto login = made->post("/sessions", fmt::format(R"({{"email":"{}","password":"{}"}})", email(name), password));
  if (login.status != 201) throw std::runtime_error("no session: " + login.body);
  made->token = text_of(login, "token");
  return made;
}

std::string text_of(const bj::value& object, std::string_view member) {
  const auto* found = object.as_object().if_contains(member);
  if (!found) throw std::runtime_error("no " + std::string(member) + " in " + bj::serialize(object));
  return found->is_string() ? std::string(found->get_string()) : bj::serialize(*found);
}

}  // namespace cairn::support
