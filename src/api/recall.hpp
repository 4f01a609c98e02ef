#pragma once
// Answers that are remembered, by Redis and in front of it by each core. None is given before PostgreSQL has said, in
// the statement that authorises the request, that it still holds: see app.holds_as_of() in
// db/migrations/0044_holds_at_once.sql and docs/adr/0011.
#include <chrono>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "api/endpoint.hpp"

namespace cairn::api {

// `text` as Redis keeps it under `key`, with a mark that only servers of this version with the same secrets.key can
// make; and the text of such a value, nothing when no such server made it: Redis may hold anything.
std::string marked(const Core& core, std::string_view key, std::string_view text);
std::string_view unmarked(const Core& core, std::string_view key, std::string_view value);

// Null unless a server of this version with the same secrets.key has remembered it under this key.
async<std::shared_ptr<KnownAnswer>> recall(Core& core, const std::string& key);
// What another core or server has made or found to hold since; null: nothing.
async<std::shared_ptr<KnownAnswer>> recall_newer(Core& core, const std::string& key, const KnownAnswer& known);
// In Redis, an answer is never replaced by an older one, however late it comes.
async<> remember(Core& core, const std::string& key, std::string seen, std::string content, std::chrono::seconds ttl);
// It holds as of `seen`, too. Redis is told now and then, so that others have less of the record to look at.
async<> renew(Core& core, const std::string& key, KnownAnswer& known, std::string seen, std::chrono::seconds ttl);

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
  std::optional<std::string> seen;
  if (known) seen = co_await tx.one(holds, id, known->seen);
  if (known && !seen) known = co_await recall_newer(call.core, key, *known);
  if (known && !seen) seen = co_await tx.one(holds, id, known->seen);
  if (seen) {
    answer.json = known->content;
    co_await renew(call.core, key, *known, std::move(*seen), ttl);
    co_return answer;
  }
  Row row = co_await tx.one(sql, id);
  T value;
  row.give(value);
  json::encode(answer.json, value);
  co_await remember(call.core, key, std::move(row.seen), answer.json, ttl);
  co_return answer;
}

}  // namespace cairn::api
