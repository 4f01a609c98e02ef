#include "pg/error.hpp"

#include <fmt/format.h>
#include <libpq-fe.h>

#include <array>
#include <map>

namespace cairn::pg {
namespace {

struct Rule {
  Rule() = default;
  Kind kind = Kind::conflict;
  std::string code, pointer, detail;
};
// Filled during static initialisation, read only afterwards.
std::map<std::string, Rule, std::less<>>& rules() {
  static std::map<std::string, Rule, std::less<>> instance;
  return instance;
}

Problem problem_of(const Rule& rule) {
  if (rule.pointer.empty()) return Problem(rule.kind, rule.code, rule.detail);
  std::vector<FieldError> errors;
  errors.emplace_back(rule.pointer, rule.code, rule.detail);
  return Problem(rule.kind, rule.code, fmt::format("{} {}.", rule.pointer.substr(1), rule.detail))
      .with(std::move(errors));
}

Retryable retryable(std::string cause) {
  Retryable problem(Kind::conflict, "The same data was being changed; try again.");
  problem.cause = std::move(cause);
  return problem;
}

}  // namespace

Constraint::Constraint(std::string_view name, Kind kind, std::string_view code, std::string_view pointer,
                       std::string_view detail) {
  Rule rule;
  rule.kind = kind;
  rule.code = code;
  rule.pointer = pointer;
  rule.detail = detail;
  rules().insert_or_assign(std::string(name), std::move(rule));
}

Problem unavailable(std::string cause) {
  Problem problem(Kind::unavailable, "The database is not available right now.");
  problem.cause = std::move(cause);
  problem.retry_after = 1;
  return problem;
}

void raise(std::string_view sqlstate, std::string_view constraint, std::string cause) {
  if (const auto rule = rules().find(constraint); !constraint.empty() && rule != rules().end())
    throw problem_of(rule->second).because(std::move(cause));

  const auto is = [&](auto... states) { return ((sqlstate == states) || ...); };
  const auto in_class = [&](auto... classes) { return (sqlstate.starts_with(classes) || ...); };
  if (is("40001", "40P01")) throw retryable(std::move(cause));
  if (is("23505", "23503", "23P01"))
    throw Problem(Kind::conflict, "The change conflicts with existing data.").because(std::move(cause));
  if (is("22021", "22P05"))
    throw Problem(Kind::malformed, "Text contains characters that cannot be stored.").because(std::move(cause));
  if (is("23514", "23502") || in_class("22"))
    throw Problem(Kind::invalid, "A value is outside of what can be stored.").because(std::move(cause));
  if (is("42501")) throw Problem(Kind::not_found).because(std::move(cause));
  if (is("55P03", "57014")) throw Problem(Kind::timeout, "The database took too long.").because(std::move(cause));
  if (in_class("08", "53", "57P0")) throw unavailable(std::move(cause));
  throw Problem(Kind::internal).because(std::move(cause));
}

void raise(const Result& failed, std::string_view name) {
  const auto part = [&](int code) -> std::string_view {
    const char* text = PQresultErrorField(failed.get(), code);
    return text == nullptr ? std::string_view{} : text;
  };
  // The detail line may quote values of the row, so it stays out of the log.
  const auto sqlstate = part(PG_DIAG_SQLSTATE);
  auto cause = fmt::format("statement {}: {} {}", name, sqlstate, part(PG_DIAG_MESSAGE_PRIMARY));
  if (plan_is_stale(failed)) throw retryable(std::move(cause));
  raise(sqlstate, part(PG_DIAG_CONSTRAINT_NAME), std::move(cause));
}

bool plan_is_stale(const Result& result) {
  // The state alone means any feature that is missing; only the place tells this one.
  const char* place = PQresultErrorField(result.get(), PG_DIAG_SOURCE_FUNCTION);
  return place != nullptr && std::string_view(place) == "RevalidateCachedQuery";
}

}  // namespace cairn::pg
