#pragma once
#include <string>
#include <string_view>

#include "base/problem.hpp"
#include "pg/result.hpp"

namespace cairn::pg {

// A serialization failure, a deadlock (40001, 40P01) or a statement prepared before a migration: nothing was kept, the
// same request may be tried again at once.
class Retryable : public Problem {
 public:
  using Problem::Problem;
};

// What the violation of one named constraint (or unique index) means to a client. Self-registering constants:
//   inline const pg::Constraint slug_taken{"organizations_slug_key", Kind::conflict, "slug_taken", "/slug", "is
//   taken"};
// With a pointer the Problem carries one FieldError; without, the detail is the Problem's own.
class Constraint {
 public:
  Constraint(std::string_view name, Kind kind, std::string_view code, std::string_view pointer,
             std::string_view detail);
};

// What a failed statement means: the constraint's rule if one is registered, else by SQLSTATE
//   23505 23503 23P01 conflict · 23514 23502 22xxx invalid · 22021 22P05 malformed · 42501 not_found
//   40001 40P01 and a stale plan Retryable · 55P03 57014 timeout · 08xxx 53xxx 57P0x unavailable, retry after 1 s ·
//   else internal
// The server's words go to `cause` only. `name` is the statement's, for the log.
[[noreturn]] void raise(const Result& failed, std::string_view name);
// The same from an SQLSTATE and a constraint's name, for tests and for other readers of SQLSTATEs.
[[noreturn]] void raise(std::string_view sqlstate, std::string_view constraint, std::string cause);

// "cached plan must not change result type": a migration changed what the prepared statement returns.
bool plan_is_stale(const Result& result);

Problem unavailable(std::string cause);  // 503, retry after 1 s

}  // namespace cairn::pg
