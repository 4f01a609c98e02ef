#pragma once
#include <string_view>

#include "base/config.hpp"
#include "base/text.hpp"

namespace cairn::account {

// Whether the password is one that is tried first: made of at most three common words, names, years, rows of keys, runs
// of digits and repetitions, whatever its case, with or without the usual digits for letters and punctuation.
bool is_common_password(std::string_view password);

// Refuses a new password that is too short, common, or holds the address it is for. `pointer` names the member of the
// body in the Problem.
void check_password(const Secret& password, const Email& email, const Config& config, std::string_view pointer);

}  // namespace cairn::account
