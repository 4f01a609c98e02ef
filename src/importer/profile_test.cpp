#include "importer/profile.hpp"

#include <gmock/gmock.h>

#include <stdexcept>

namespace cairn::importer {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

std::string error_of(const std::string& toml) {
  try {
    parse_profile(toml, "p.toml");
  } catch (const std::runtime_error& error) { return error.what(); }
  return "no error";
}

const std::string smallest = R"([source]
name = "x"
key = "id"
[columns]
title = "name"
[projects]
fixed = "All"
)";

TEST(Profile, NeedsLittle) {
  const auto profile = parse_profile(smallest, "p.toml");
  EXPECT_EQ(profile.name, "x");
  EXPECT_EQ(profile.title, "name");
  EXPECT_EQ(profile.delimiter, ',');
  EXPECT_EQ(profile.default_status, "todo");
}

TEST(Profile, SaysWhereAMistakeIs) {
  EXPECT_THAT(error_of("[source\n"), StartsWith("p.toml:1:"));
  EXPECT_THAT(error_of(smallest + "[colums]\n"), HasSubstr("a profile has no \"colums\""));
  EXPECT_THAT(error_of(smallest + "[values.status]\nOPEN = \"todo\"\nSHUT = \"closed\"\n"),
              testing::AllOf(StartsWith("p.toml:10:8:"), HasSubstr("\"closed\" is none of: todo")));
  EXPECT_THAT(error_of("[source]\nname = \"x\"\nkey = 7\n"), StartsWith("p.toml:3:7: \"key\" must be a string"));
  EXPECT_THAT(error_of("[source]\nname = \"x\"\nkey = \"id\"\nencoding = \"utf-7\"\n"), StartsWith("p.toml:4:12:"));
}

TEST(Profile, RefusesWhatCannotWork) {
  EXPECT_THAT(error_of(""), HasSubstr("needs a [source] table"));
  EXPECT_THAT(error_of("[source]\nname = \"Not A Slug\"\nkey = \"id\"\n"), HasSubstr("[source] name"));
  EXPECT_THAT(error_of("[source]\nname = \"x\"\nkey = \"id\"\n"), HasSubstr("maps at least title"));
  EXPECT_THAT(error_of(smallest + "column = \"p\"\n"), HasSubstr("either column or fixed"));
  EXPECT_THAT(error_of(smallest + "[repeat]\ninto = \"rows\"\n"), HasSubstr("[repeat.columns]"));
  EXPECT_THAT(error_of(smallest + "[joins.dates]\nfile = \"d.csv\"\n"), HasSubstr("needs file and key"));
}

TEST(Profile, ThoseShippedAreFine) {
  for (const auto* name : {"sip", "jira", "cairn"}) {
    const auto profile = load_profile(name);
    EXPECT_EQ(profile.name, name);
  }
}

TEST(Profile, ANameThatIsNoneIsSaidSo) {
  EXPECT_THROW(load_profile("no-such-profile"), std::runtime_error);
  EXPECT_THROW(load_profile("../../etc/passwd"), std::runtime_error);
}

}  // namespace
}  // namespace cairn::importer
