#pragma once
// One-time passwords by the clock: RFC 6238 with SHA-1, 30 seconds and 6 digits, which is what every app knows.
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "api/registry.hpp"
#include "base/codec.hpp"

namespace cairn::account::totp {

using Secret = std::array<std::uint8_t, 20>;

Secret make_secret();
std::string base32(std::span<const std::uint8_t> bytes);  // RFC 4648, without padding
std::int64_t step_at(Instant moment);
std::string code(const Secret& secret, std::int64_t step);
// The step that `given` is the code of: this one, the one before or the next, if it is later than `last`.
std::optional<std::int64_t> matching_step(const Secret& secret, std::string_view given, Instant now, std::int64_t last);

// A code as people type it, blanks and dashes left out, letters in upper case.
std::string typed(std::string_view text);

// Ends in a Problem unless `given` is a code of the actor's second factor, one of the app or a recovery code, which it
// uses up in `tx`. A wrong code counts although the request fails: it is committed before the Problem is thrown, which
// is of that kind.
async<> demand(api::Call& call, pg::Tx& tx, std::string given, Kind kind);

struct State : json::Read {
  State() = default;
  bool enabled = false;
  std::optional<Instant> confirmed_at;
  std::int32_t recovery_codes_left = 0;
};
BOOST_DESCRIBE_STRUCT(State, (), (enabled, confirmed_at, recovery_codes_left))

struct Start : json::Written {
  Start() = default;
  cairn::Secret password;
};
BOOST_DESCRIBE_STRUCT(Start, (), (password))

struct Enrolment : json::Read {
  Enrolment() = default;
  std::string secret, otpauth_uri;
};
BOOST_DESCRIBE_STRUCT(Enrolment, (), (secret, otpauth_uri))

struct Confirmation : json::Written {
  Confirmation() = default;
  Text<1, 40> code;
};
BOOST_DESCRIBE_STRUCT(Confirmation, (), (code))

struct RecoveryCodes : json::Read {
  RecoveryCodes() = default;
  std::vector<std::string> recovery_codes;
};
BOOST_DESCRIBE_STRUCT(RecoveryCodes, (), (recovery_codes))

struct Removal : json::Written {
  Removal() = default;
  cairn::Secret password;
  Text<1, 40> code;
};
BOOST_DESCRIBE_STRUCT(Removal, (), (password, code))

void mount(api::Api& api);

}  // namespace cairn::account::totp
