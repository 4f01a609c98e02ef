#pragma once
#include <string>
#include <vector>

#include "support/stack.hpp"

namespace cairn::support {

// Where changes and the record disagree: each version of each row of each audited table has exactly one entry, and each
// row that is gone has one that says so. Empty when all is well.
std::vector<std::string> record_problems(Database& database);

}  // namespace cairn::support
