#pragma once
#include "api/endpoint.hpp"
#include "base/text.hpp"

namespace cairn::account {

// Before something grave the person says the password again: a session may be left open on a desk. Returns the
// account's address; a wrong password goes on the record and ends the request with a Problem that points at `pointer`.
async<Email> again(api::Call& call, Secret password, std::string_view pointer);

}  // namespace cairn::account
