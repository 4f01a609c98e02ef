#include "account/password.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "base/problem.hpp"

namespace cairn::account {
namespace {

TEST(ACommonPassword, IsRecognised) {
  for (const auto* password : {"password",          "Password1",         "P@ssw0rd!",          "passwordpassword",
                               "password12345678",  "123456789012345",   "qwertyuiop123456",   "1qaz2wsx3edc4rfv",
                               "iloveyou",          "ILoveYouForever!",  "aaaaaaaaaaaaaaa",    "abcdefghijklmnop",
                               "zyxwvutsrqponmlk",  "letmein",           "Welcome2024!",       "summer2024summer",
                               "admin-admin-admin", "trustno1trustno1",  "monkeymonkeymonkey", "111111111111111",
                               "dragon19801980",    "changeme changeme", "qwertzuiop2023",     "Cairn-Project-2026",
                               "12312312312312312", "superman_batman",   "michaeljordan23",    "asdfghjklasdfghjkl"})
    EXPECT_TRUE(is_common_password(password)) << password;
}

TEST(AnUncommonPassword, IsTaken) {
  for (const auto* password : {"correct horse battery staple", "incorrect horse battery staple", "vfG8#qLw2!xTz9@k",
                               "Tr0ub4dor&3-zymurgy", "my aunt keeps 14 bees in Lisbon", "8430275916380274",
                               "żółta łódź podwodna", "otter-violin-ledger", "n7wq kcp2 m0xe 3hlz"})
    EXPECT_FALSE(is_common_password(password)) << password;
}

// As many as lists of common passwords have, of the length that is asked for.
TEST(CommonPasswords, AreManyThousands) {
  const std::vector<std::string> first{"password", "welcome",  "qwerty",   "dragon",  "monkey",
                                       "football", "sunshine", "princess", "michael", "letmein",
                                       "superman", "iloveyou", "computer", "internet"};
  const std::vector<std::string> second{"", "love", "summer", "master", "baby", "admin", "hello", "secret", "tiger"};
  std::set<std::string> all;
  for (const auto& a : first)
    for (const auto& b : second)
      for (int year = 1970; year < 2030; ++year)
        for (const auto* end : {"", "!"}) all.insert(a + b + std::to_string(year) + end);
  EXPECT_GT(all.size(), 10'000u);
  for (const auto& password : all) ASSERT_TRUE(is_common_password(password)) << password;
}

std::string refusal(std::string password, std::string_view email) {
  try {
    check_password(Secret(std::move(password)), *Email::parse(email), Config(), "/password");
  } catch (const Problem& problem) { return problem.errors.at(0).code; }
  return "none";
}

TEST(ANewPassword, IsNotShortNorCommonNorTheAddress) {
  EXPECT_EQ(refusal("vfG8#qLw2!xTz9", "ada@example.org"), "too_short");
  EXPECT_EQ(refusal("vfG8#qLw2!xTz9@", "ada@example.org"), "none");
  EXPECT_EQ(refusal("password12345678", "ada@example.org"), "too_common");
  EXPECT_EQ(refusal("for ADA@example.org only", "ada@example.org"), "contains_email");
  EXPECT_EQ(refusal("zq lovelace kw 93 x", "lovelace@example.org"), "contains_email");
  EXPECT_EQ(refusal("canada has zebras 93", "ada@example.org"), "none");
}

TEST(ALongPassword, IsCheckedQuickly) {
  for (const auto* piece : {"a", "pass", "qwerty1!", "1qaz"}) {
    std::string text;
    while (text.size() < 1000) text += piece;
    is_common_password(text + "x");
  }
}

}  // namespace
}  // namespace cairn::account
