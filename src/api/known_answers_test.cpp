#include "api/known_answers.hpp"

#include <gtest/gtest.h>

namespace cairn::api {
namespace {

std::shared_ptr<KnownAnswer> answer(std::size_t size, char of = 'x') {
  return std::make_shared<KnownAnswer>("1:1:@1", std::string(size, of));
}

TEST(KnownAnswers, AreFoundByTheirKeyUntilAnotherTakesTheirPlace) {
  KnownAnswers answers;
  EXPECT_EQ(answers.find("a"), nullptr);
  answers.add("a", answer(10, 'a'));
  answers.add("b", answer(10, 'b'));
  ASSERT_NE(answers.find("a"), nullptr);
  EXPECT_EQ(answers.find("a")->content, std::string(10, 'a'));
  answers.add("a", answer(10, 'c'));
  EXPECT_EQ(answers.find("a")->content, std::string(10, 'c'));
  EXPECT_EQ(answers.find("b")->content, std::string(10, 'b'));
}

TEST(KnownAnswers, AreForgottenBeforeTheyTakeTooMuchMemory) {
  KnownAnswers answers;
  constexpr std::size_t size = 1 << 16, fit = (std::size_t{16} << 20) / (size + 300);
  const auto key = [](std::size_t i) { return std::to_string(i); };
  for (std::size_t i = 0; i < fit; ++i) {
    answers.add(key(i), answer(size));
    answers.add(key(i), answer(size));  // what was replaced takes nothing
  }
  EXPECT_NE(answers.find(key(0)), nullptr);
  for (std::size_t i = fit; i < fit + 2; ++i) answers.add(key(i), answer(size));
  EXPECT_EQ(answers.find(key(0)), nullptr);
  EXPECT_NE(answers.find(key(fit + 1)), nullptr);
}

TEST(KnownAnswers, AreNotKeptWhenOneWouldTakeAllThatThereIs) {
  KnownAnswers answers;
  answers.add("a", answer(10));
  answers.add("b", answer(10));
  answers.add("a", answer(std::size_t{16} << 20));
  EXPECT_EQ(answers.find("a"), nullptr);
  EXPECT_NE(answers.find("b"), nullptr);
}

}  // namespace
}  // namespace cairn::api
