#pragma once
#include "account/account.hpp"
#include "organization/organization.hpp"

namespace cairn::profile {

using account::AccountId;

// A name of the IANA time zone database that this machine knows, such as Europe/Warsaw.
class TimeZone {
 public:
  TimeZone() = default;
  static TimeZone trusted(std::string value) {
    TimeZone zone;
    zone.value_ = std::move(value);
    return zone;
  }
  static std::string problem(std::string_view value);
  static std::optional<TimeZone> parse(std::string_view value) {
    if (!problem(value).empty()) return std::nullopt;
    return trusted(std::string(value));
  }
  const std::string& str() const { return value_; }

 private:
  std::string value_ = "UTC";
};

// A telephone number as people write it.
class Phone {
 public:
  Phone() = default;
  static Phone trusted(std::string value) {
    Phone phone;
    phone.value_ = std::move(value);
    return phone;
  }
  static std::string problem(std::string_view value);
  static std::optional<Phone> parse(std::string_view value) {
    if (!problem(value).empty()) return std::nullopt;
    return trusted(std::string(value));
  }
  const std::string& str() const { return value_; }

 private:
  std::string value_;
};

using Bio = Text<0, 10'000, Shape::text>;

// What I keep about myself.
struct Profile : json::Read {
  Profile() = default;
  AccountId user_id;
  std::optional<Url<500>> avatar_url;
  std::optional<Bio> bio;
  std::optional<Phone> phone;
  std::optional<Text<1, 200>> company;
  std::optional<Text<1, 100>> department, job_title;
  TimeZone timezone;
  JsonObject preferences;
  Instant created_at, updated_at;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Profile, (),
                      (user_id, avatar_url, bio, phone, company, department, job_title, timezone, preferences,
                       created_at, updated_at, version))

struct Edit : json::Written {
  Edit() = default;
  Change<std::optional<Url<500>>> avatar_url;
  Change<std::optional<Bio>> bio;
  Change<std::optional<Phone>> phone;
  Change<std::optional<Text<1, 200>>> company;
  Change<std::optional<Text<1, 100>>> department, job_title;
  Change<TimeZone> timezone;
  Change<JsonObject> preferences;
};
BOOST_DESCRIBE_STRUCT(Edit, (), (avatar_url, bio, phone, company, department, job_title, timezone, preferences))

// What colleagues see of it: neither the telephone number nor how I like the program to be.
struct Colleague : json::Read {
  Colleague() = default;
  AccountId user_id;
  account::Name first_name, last_name;
  std::optional<Url<500>> avatar_url;
  std::optional<Bio> bio;
  std::optional<Text<1, 200>> company;
  std::optional<Text<1, 100>> department, job_title;
  TimeZone timezone;
  std::int64_t version = 0;
};
BOOST_DESCRIBE_STRUCT(Colleague, (),
                      (user_id, first_name, last_name, avatar_url, bio, company, department, job_title, timezone,
                       version))

void mount(api::Api& api);

}  // namespace cairn::profile

namespace cairn::json {

template<>
struct Codec<profile::TimeZone> : ParsedCodec<profile::TimeZone, Codec<profile::TimeZone>> {
  static std::string problem(std::string_view from) { return profile::TimeZone::problem(from); }
  static void encode(std::string& out, const profile::TimeZone& value) { append_string(out, value.str()); }
  static bj::object schema(Components&) { return {{"type", "string"}, {"maxLength", 50}}; }
};
template<>
struct Codec<profile::Phone> : ParsedCodec<profile::Phone, Codec<profile::Phone>> {
  static std::string problem(std::string_view from) { return profile::Phone::problem(from); }
  static void encode(std::string& out, const profile::Phone& value) { append_string(out, value.str()); }
  static bj::object schema(Components&) {
    return {{"type", "string"}, {"minLength", 3}, {"maxLength", 20}, {"pattern", "^[+]?[0-9 ()./-]+$"}};
  }
};
template<>
inline constexpr auto member_docs<profile::Profile> = std::to_array<MemberDoc>(
    {{"phone", "Colleagues do not see it."},
     {"timezone", "A name of the IANA time zone database."},
     {"avatar_url", "Stored and shown, never fetched by the server."},
     {"preferences", "Whatever clients keep here; colleagues do not see it. At most 16 KiB, 256 members, 32 levels."}});

}  // namespace cairn::json
