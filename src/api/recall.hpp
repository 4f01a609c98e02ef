#pragma once
// Answers that Redis remembers. None is given before PostgreSQL has said, in the statement that authorises the request,
// that it still holds: see app.holds_as_of() in db/migrations/0043_holds_as_of.sql and docs/adr/0011.
#include <chrono>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include "api/endpoint.hpp"

namespace cairn::api {

// `seen`: what app.holds_as_of() takes. Empty: nothing is remembered.
struct Recalled {
  Recalled() = default;
  std::string seen, content;
};
// Nothing unless a server of this version with the same secrets.key has remembered it under this key: Redis may hold
// anything.
async<Recalled> recall(Core& core, std::string key);
// Never replaces an answer by an older one, however late it comes.
async<> remember(Core& core, std::string key, std::string_view seen, std::string_view content,
                 std::chrono::seconds ttl);

// The hash of whatever an answer depends on besides what app.holds_as_of() looks at, for the key api_cache.
std::string params_hash(std::initializer_list<std::string_view> params);

// `holds` says as of when the remembered answer is true, if it still is, and refuses whoever may not ask; `sql`, which
// does so, too, makes a new one. They are two, because starting a statement costs by its length, whatever of it is run.
// A Row is a T with `seen`.
template<class T, class Row, class Key>
async<Encoded<T>> remembered(Call& call, pg::ReadTx& tx,
                             const pg::Sql<std::optional<std::string>(Key, std::string)>& holds,
                             const pg::Sql<Row(Key)>& sql, Key id, std::string key, std::chrono::seconds ttl) {
  auto known = co_await recall(call.core, key);
  Encoded<T> answer;
  answer.json = std::move(known.content);
  std::optional<std::string> seen;
  if (!known.seen.empty()) seen = co_await tx.one(holds, id, known.seen);
  if (seen) {
    if (*seen != known.seen) co_await remember(call.core, std::move(key), *seen, answer.json, ttl);
    co_return answer;
  }
  const Row row = co_await tx.one(sql, id);
  T value;
  row.give(value);
  answer.json.clear();
  json::encode(answer.json, value);
  co_await remember(call.core, std::move(key), row.seen, answer.json, ttl);
  co_return answer;
}

}  // namespace cairn::api
