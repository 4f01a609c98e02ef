#include "api/recall.hpp"

#include <fmt/format.h>
#include <sodium.h>

#include <array>

#include "base/vault.hpp"

namespace cairn::api {
namespace {

const redis::Script keep_newer{R"lua(
  local old = redis.pcall('GET', KEYS[1])
  local there = type(old) == 'string' and tonumber(string.match(old, '^%d+:(%d+):'))
  if there and there > tonumber(string.match(ARGV[1], '^%d+:(%d+):')) then return 0 end
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  return 1)lua"};

// What was written by another version may have another shape.
std::string mark_of(Core& core, std::string_view key, std::string_view seen, std::string_view content) {
  return Vault::in(core.shared.config.data_dir).mark({CAIRN_VERSION, key, seen, content});
}
constexpr std::size_t mark_length = 32;

}  // namespace

std::string params_hash(std::initializer_list<std::string_view> params) {
  std::string text;
  for (const auto param : params) text.append(std::to_string(param.size())).append(":").append(param);
  std::array<unsigned char, crypto_hash_sha256_BYTES> hash;
  crypto_hash_sha256(hash.data(), reinterpret_cast<const unsigned char*>(text.data()), text.size());
  std::string hex(hash.size() * 2 + 1, '\0');
  sodium_bin2hex(hex.data(), hex.size(), hash.data(), hash.size());
  hex.pop_back();
  return hex;
}

// `<seen>\n<mark>\n<content>`
async<Recalled> recall(Core& core, std::string key) {
  Recalled found;
  const auto reply = co_await core.redis.command("GET", key);
  if (!reply || reply->type != redis::Reply::Type::string) co_return found;
  const std::string_view text = reply->text;
  const auto line = text.find('\n');
  if (line == std::string_view::npos || text.size() < line + mark_length + 2) co_return found;
  const auto seen = text.substr(0, line), mark = text.substr(line + 1, mark_length);
  const auto content = text.substr(line + mark_length + 2);
  if (mark_of(core, key, seen, content) != mark) co_return found;
  found.seen = seen;
  found.content = content;
  co_return found;
}

async<> remember(Core& core, std::string key, std::string_view seen, std::string_view content,
                 std::chrono::seconds ttl) {
  const auto value = fmt::format("{}\n{}\n{}", seen, mark_of(core, key, seen, content), content);
  const auto seconds = std::to_string(ttl.count());
  const std::array<std::string_view, 1> keys = {key};
  const std::array<std::string_view, 2> args = {value, seconds};
  co_await core.redis.script(keep_newer, keys, args);
}

}  // namespace cairn::api
