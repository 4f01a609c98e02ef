#pragma once
#include <libpq-fe.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "embedded/embedded.hpp"
#include "server/server.hpp"
#include "support/contract.hpp"

// Real PostgreSQL, Redis and server for tests. The first call that needs the servers is for the main thread.
namespace cairn::support {

// This process's private PostgreSQL and Redis, started at the first call by the same supervisor as in production, in a
// directory of their own that goes with the process.
const embedded::Endpoints& servers();

// A connection for looking at the database behind the server's back. Failures throw std::runtime_error with the
// server's words.
class Database {
 public:
  using Rows = std::vector<std::vector<std::string>>;

  explicit Database(const std::string& conninfo);
  // All rows as text; NULL is "NULL".
  Rows rows(const std::string& sql);
  // The first column of the first row.
  std::string value(const std::string& sql);
  void run(const std::string& sql) { rows(sql); }
  // The SQLSTATE that the statement fails with; empty when it does not.
  std::string failure(const std::string& sql);
  // Changes when any row of any table does, but for what says that a request was refused.
  std::string digest();
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

// What the process's Redis answers to a command: a string, the elements of an array, a number as text; nothing for nil.
// After each test all its keys must be the specification's, and before FLUSHALL too.
std::vector<std::string> redis(const std::vector<std::string>& command);
std::vector<std::string> redis(const std::vector<std::string>& command, const std::string& socket);

// This process's Redis, silent for as long as it lives.
class FrozenRedis {
 public:
  FrozenRedis();
  FrozenRedis(const FrozenRedis&) = delete;
  FrozenRedis& operator=(const FrozenRedis&) = delete;
  ~FrozenRedis();

 private:
  int pid_ = 0;
};

// Nobody listens: a request was not sent.
class Unreachable : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// A blocking HTTP/1.1 client (of a stream of events it reads the first) with one kept-alive connection to 127.0.0.1.
// Every reply is held against the contract: one that the server's own description does not have fails the test that is
// running.
class Client {
 public:
  Client(std::uint16_t port, const Contract& contract) : port_(port), contract_(contract) {}
  ~Client() { disconnect(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  std::string token;        // sent as a bearer token when set
  bool sends_again = true;  // on a new connection, when a kept-alive one turns out to have ended
  // `path` is below /api/v1 when it does not start with "//" (then the rest is sent as it is). `extra` are whole header
  // lines. A body is sent as application/json unless `extra` says otherwise.
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
  // The rows of all pages of a list, in order; `pages` counts them when given.
  std::vector<boost::json::value> all(const std::string& list, unsigned* pages = nullptr);

 private:
  void disconnect();
  bool exchange(const std::string& request, bool has_body, Reply& reply);

  std::uint16_t port_;
  const Contract& contract_;
  int socket_ = -1;
};

// A server on a free port over a sandbox, with cheap password hashing and limits that no test reaches by chance. Mails
// stay in app.mails and keys in the process's Redis unless told otherwise.
class Stack {
 public:
  using Adjust = std::function<void(Config&)>;

  explicit Stack(const Adjust& adjust = {}) : Stack(std::make_shared<Sandbox>(), adjust) {}
  ~Stack();
  // One more server over the same sandbox.
  std::unique_ptr<Stack> beside(const Adjust& adjust = {}) const {
    return std::unique_ptr<Stack>(new Stack(sandbox_, adjust));
  }

  Client client() const { return Client(server_->port(), *contract_); }
  // A new account, logged in, whose address counts as confirmed where it must be. It must not outlive the stack.
  std::unique_ptr<Client> person(std::string_view name) const;
  // One that is logged in already.
  std::unique_ptr<Client> with_token(std::string token) const;
  std::uint16_t port() const { return server_->port(); }
  server::Server& server() { return *server_; }
  const Contract& contract() const { return *contract_; }
  // Sees everything; what it changes is on the record as the actor "test".
  Database database() const;
  const std::string& database_url() const { return sandbox_->superuser_url; }
  const std::string& owner_url() const { return sandbox_->owner_url; }
  // The same as the runtime role, which sees nothing until it says for whom.
  Database app_database() const { return Database(sandbox_->app_url); }

  static std::string email(std::string_view name) { return std::string(name) + "@example.org"; }
  static constexpr std::string_view password = "correct horse battery staple";

 private:
  Stack(std::shared_ptr<Sandbox> sandbox, const Adjust& adjust);

  std::shared_ptr<Sandbox> sandbox_;
  std::unique_ptr<server::Server> server_;
  std::unique_ptr<Contract> contract_;
  bool mails_ = false;
};

// A member of a reply's JSON object as text: strings bare, everything else as JSON.
std::string text_of(const boost::json::value& object, std::string_view member);
inline std::string text_of(const Reply& reply, std::string_view member) { return text_of(reply.json(), member); }

}  // namespace cairn::support
