#pragma once
#include <boost/json/object.hpp>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "api/core.hpp"
#include "base/async.hpp"
#include "base/codec.hpp"
#include "base/problem.hpp"
#include "base/values.hpp"
#include "http/message.hpp"
#include "pg/tx.hpp"

namespace cairn::api {

// Who may call an endpoint. The roles up to owner are those in the organization that owns the thing named in the path.
// This is what documentation and the contract tests are made of; the SQL of the handler is what enforces it. The last
// two are roles on the server, whoever asks with less is refused before anything else.
BOOST_DEFINE_ENUM_CLASS(Access, anonymous, user, member, manager, admin, owner, server_manager, server_admin)

// As app.server_rank has them; 0 where no role on the server is needed.
inline int server_rank(Access allow) {
  return allow == Access::server_admin ? 2 : allow == Access::server_manager ? 1 : 0;
}

// What the types of a handler cannot say.
struct Spec {
  std::string_view id;  // OpenAPI operation id, metric and rate-limit key
  std::string_view summary;
  std::string_view description = {};
  Access allow = Access::owner;    // the strictest unless said otherwise
  std::string_view location = {};  // of what a Created<T> names, with {id} for its id
  std::string_view problems = {};  // notable machine codes, comma separated
  Rate rate = Rate::automatic;     // how often it may be called
};

// 201 with a Location header.
template<class T>
struct Created {
  Created() = default;
  Created(T row) : value(std::move(row)) {}  // NOLINT(google-explicit-constructor): co_return row;
  T value;
};

// One page of a list that is read by key: as long as next_cursor is not null there is more. Rows that do not change
// while one pages are neither repeated nor skipped, whatever others write.
template<class T>
struct Page {
  Page() = default;
  std::vector<T> data;
  std::optional<std::string> next_cursor;
};

// A T that is encoded already.
template<class T>
struct Encoded {
  Encoded() = default;
  std::string json;
};

template<class T>
void encode(std::string& out, const T& value) {
  json::encode(out, value);
}
template<class T>
void encode(std::string& out, const Page<T>& page) {
  out += "{\"data\":";
  json::encode(out, page.data);
  out += ",\"next_cursor\":";
  json::encode(out, page.next_cursor);
  out.push_back('}');
}
template<class T>
void encode(std::string& out, const Encoded<T>& value) {
  out += value.json;
}

// 200 with content that is made while it is sent, of one of these types. A type is a struct with a `name`, which is the
// Content-Type, and a `description`.
template<class... Media>
struct Stream {
  Stream() = default;
  template<class M>
  static Stream of(std::shared_ptr<http::Source> source) {
    static_assert((std::is_same_v<M, Media> || ...), "not one of the types that the reply may have");
    Stream stream;
    stream.type = M::name;
    stream.source = std::move(source);
    return stream;
  }
  std::string_view type;
  std::shared_ptr<http::Source> source;
};

// The version the client expects to change (If-Match, RFC 9110 section 13.1.1). Binds to SQL as a nullable bigint.
struct IfMatch {
  std::optional<std::int64_t> version;
};

struct Endpoint;

// Who is asking, as far as the token says; the prelude makes PostgreSQL confirm it in the round trip that does the
// work.
struct Identity {
  Identity() = default;
  std::optional<Uuid> user;
  pg::Prelude read, write;
};

struct Call;
// Identifies a request from the token it came with, and again (`anew`) when what was remembered of the person turned
// out to be out of date. Called on the request's core. Throws Problem (unauthenticated).
using Authenticator = std::function<async<Identity>(Call&, std::string_view token, bool anew)>;

// One request on its way through the stages.
struct Call {
  Call(Core& c, const http::Request& q, http::Response& r) : core(c), request(q), response(r) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  Core& core;
  const http::Request& request;
  http::Response& response;
  std::string request_id;
  Remote remote;
  std::string address;     // of the client, text form; empty on a unix socket
  std::string user_agent;  // valid UTF-8 without control characters, at most 500 bytes
  const Endpoint* endpoint = nullptr;
  std::array<std::string_view, 4> path_values;
  std::string_view token;  // that came with the request
  bool by_cookie = false;
  Allowance allowance;
  std::optional<limits::Clock::time_point> on_trial;  // the token is not known yet; when the count of failures ends
  Identity identity;
  std::chrono::steady_clock::time_point begun{};
  std::chrono::steady_clock::time_point deadline{};

  // Set while the request is that of somebody with a token.
  const Authenticator* authenticator = nullptr;

  pg::ReadTx read() { return core.database.read(identity.read, deadline); }
  pg::Tx write() { return core.database.write(identity.write, deadline); }
};

// A request whose reply is still being made when it is over otherwise. It reads on in the caller's name, and what the
// caller may do is checked with every read, as it is for any request.
class Afterwards {
 public:
  explicit Afterwards(const Call& of);

  // `work` may run again from its beginning, when the caller's rights have changed meanwhile. Throws Problem
  // (unauthenticated) when the caller may do nothing any more.
  template<class T>
  async<T> read(std::function<async<T>(pg::ReadTx&)> work) {
    for (unsigned stale = 0;;) {
      try {
        pg::ReadTx tx = call_.read();
        co_return co_await work(tx);
      } catch (const pg::Stale&) {
        if (++stale > 5) throw;
      }
      co_await learn();
    }
  }
  // Asks anew what the caller may do.
  async<> learn();
  Call& call() { return call_; }

 private:
  http::Request request_;
  http::Response response_;
  std::string token_;
  std::array<std::string, 4> path_values_;
  Call call_;
};

struct Endpoint {
  Endpoint() = default;
  http::Method method = http::Method::get;
  std::string path;                     // "/tasks/{task}", below the version prefix
  std::vector<std::string> path_names;  // "task"
  Spec spec;
  std::function<async<void>(Call&)> run;                           // decode, transact, encode
  std::function<boost::json::object(json::Components&)> describe;  // the OpenAPI operation
};

inline bool endpoint_reads(http::Method method) { return method == http::Method::get; }

}  // namespace cairn::api
