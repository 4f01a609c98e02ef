#include "api/docs/assets.hpp"

#include <array>

extern "C" {
// NOLINTNEXTLINE(bugprone-macro-parentheses): a declarator
#define CAIRN_ASSET(symbol, name, type) extern const char symbol[], symbol##_end[];
#include "docs_assets.inc"
#undef CAIRN_ASSET
}

namespace cairn::api {

std::span<const EmbeddedAsset> docs_assets() {
#define CAIRN_ASSET(symbol, name, type) \
  EmbeddedAsset{name, type, {symbol, static_cast<std::size_t>(symbol##_end - (symbol))}},
  static const std::array assets{
#include "docs_assets.inc"
  };
#undef CAIRN_ASSET
  return assets;
}

}  // namespace cairn::api
