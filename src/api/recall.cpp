#include "api/recall.hpp"

#include <sodium.h>

#include <array>
#include <charconv>
#include <cstdint>

namespace cairn::api {
namespace {

const redis::Script keep_newer{R"lua(
  local old = redis.pcall('GET', KEYS[1])
  local there = type(old) == 'string' and tonumber(string.match(old, '^%d+:(%d+):'))
  if there and there > tonumber(string.match(ARGV[1], '^%d+:(%d+):')) then return 0 end
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  return 1)lua"};

// Takes a number off the front; no sign, no zeros before it.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{}) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}
bool take(std::string_view& text, char c) {
  if (!text.starts_with(c)) return false;
  text.remove_prefix(1);
  return true;
}

}  // namespace

bool could_be_seen(std::string_view text) {
  constexpr std::uint64_t most = std::uint64_t{1} << 62;
  const auto least = take_number(text);
  if (!least || *least == 0 || !take(text, ':')) return false;
  const auto next = take_number(text);
  if (!next || *next < *least || *next > most || !take(text, ':')) return false;
  for (auto before = *least; !text.starts_with('@');) {
    const auto running = take_number(text);
    if (!running || *running < before || *running >= *next) return false;
    before = *running + 1;
    if (text.starts_with('@')) break;
    if (!take(text, ',') || text.starts_with('@')) return false;
  }
  text.remove_prefix(1);
  const auto until = take_number(text);
  return until && *until < most / 16 && text.empty();
}

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

async<Recalled> recall(Core& core, std::string key) {
  Recalled found;
  const auto reply = co_await core.redis.command("GET", key);
  if (!reply || reply->type != redis::Reply::Type::string) co_return found;
  const std::string_view text = reply->text;
  const auto line = text.find('\n');
  if (line == std::string_view::npos || !could_be_seen(text.substr(0, line))) co_return found;
  found.seen = text.substr(0, line);
  found.content = text.substr(line + 1);
  co_return found;
}

async<> remember(Core& core, std::string key, std::string_view seen, std::string_view content,
                 std::chrono::seconds ttl) {
  std::string value(seen);
  value.append("\n").append(content);
  const auto seconds = std::to_string(ttl.count());
  const std::array<std::string_view, 1> keys = {key};
  const std::array<std::string_view, 2> args = {value, seconds};
  co_await core.redis.script(keep_newer, keys, args);
}

}  // namespace cairn::api
