#pragma once
#include "embedded/child.hpp"

namespace cairn::embedded {

std::filesystem::path redis_socket(const Site&);
Recipe redis_recipe(const Site&);  // throws when the program is missing

}  // namespace cairn::embedded
