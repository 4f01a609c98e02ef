#pragma once
#include <libpq-fe.h>
#include <boost/json/value.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "embedded/embedded.hpp"
#include "server/server.hpp"

// Real PostgreSQL, Redis and server for tests. Everything here is for the main thread of a test program.
namespace cairn::support {

// This process's private PostgreSQL and Redis, started at the first call by the same supervisor as in production, in a
// directory of their own that goes with the process.
const embedded::Endpoints& servers();

// A connection for looking at the database behind the server's back. Failures throw std::runtime_error with the
// server's words.
class Database {
 public:
  explicit Database(const std::string& conninfo);
  // All rows as text; NULL is "NULL".
  std::vector<std::vector<std::string>> rows(const std::string& sql);
  // The first column of the first row.
  std::string value(const std::string& sql);
  void run(const std::string& sql) { rows(sql); }
  PGconn* raw() { return connection_.get(); }

 private:
  struct Close {
    void operator()(PGconn* c) const { PQfinish(c); }
  };
  std::unique_ptr<PGconn, Close> connection_;
};

// A fresh database with the current schema, copied from one that was migrated once; dropped at the end.
class Sandbox {
 public:
  Sandbox();
  ~Sandbox();
  Sandbox(const Sandbox&) = delete;
  Sandbox& operator=(const Sandbox&) = delete;

  std::string app_url, owner_url, superuser_url;

 private:
  std::string name_;
};

struct Reply {
  Reply() = default;
  unsigned status = 0;
  std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
  std::string body;
  boost::json::value json() const;
  std::string header(std::string_view lower_case_name) const;
};

// A blocking HTTP/1.1 client with one kept-alive connection to 127.0.0.1.
class Client {
 public:
  explicit Client(std::uint16_t port) : port_(port) {}
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  std::string token;  // sent as a bearer token when set
  // `path` is below /api/v1 when it does not start with "//" (then the rest is sent as it is). `extra` are whole header
  // lines.
  Reply send(std::string_view method, std::string_view path, std::string_view body = {},
             const std::vector<std::string>& extra = {});
  Reply get(std::string_view path, const std::vector<std::string>& extra = {}) { return send("GET", path, {}, extra); }
  Reply post(std::string_view path, std::string_view body) { return send("POST", path, body); }
  Reply patch(std::string_view path, std::string_view body, const std::vector<std::string>& extra = {}) {
    return send("PATCH", path, body, extra);
  }
  Reply del(std::string_view path, const std::vector<std::string>& extra = {}) {
    return send("DELETE", path, {}, extra);
  }

 private:
  std::uint16_t port_;
  int socket_ = -1;
};

// A server on a free port over a sandbox, with cheap password hashing.
class Stack {
 public:
  Stack();
  ~Stack();

  Client client() const { return Client(server_->port()); }
  // A new account, logged in.
  std::unique_ptr<Client> person(std::string_view name);
  std::uint16_t port() const { return server_->port(); }
  server::Server& server() { return *server_; }
  Sandbox& sandbox() { return sandbox_; }
  // Sees everything.
  Database database() { return Database(sandbox_.superuser_url); }

  static std::string email(std::string_view name) { return std::string(name) + "@example.org"; }
  static constexpr std::string_view password = "correct horse battery staple";

 private:
  Sandbox sandbox_;
  std::unique_ptr<server::Server> server_;
};

// Why `value` does not fit `schema` (the subset of JSON Schema that our own OpenAPI document uses; references are
// looked up in `document`); empty when it fits.
std::string schema_problem(const boost::json::value& value, const boost::json::value& schema,
                           const boost::json::value& document, const std::string& at = "");

}  // namespace cairn::support
