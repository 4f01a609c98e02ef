#pragma once
// Each *_fuzz.cpp is a libFuzzer target: bytes in, and rules that hold whatever they are. A rule that is broken ends
// the process, which makes libFuzzer keep the bytes. bin/test --fuzz runs them all.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>

namespace cairn::fuzz {

inline void require(bool holds, const char* rule) {
  if (holds) return;
  std::fprintf(stderr, "Broken: %s\n", rule);
  std::abort();
}

// What the target does with one input.
void run(std::string_view bytes);

}  // namespace cairn::fuzz

extern "C" inline __attribute__((used)) int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cairn::fuzz::run({reinterpret_cast<const char*>(data), size});
  return 0;
}
