#include "api/paging.hpp"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace cairn::api {
namespace {

struct Row : json::Read {
  Row() = default;
  Uuid id;
};
BOOST_DESCRIBE_STRUCT(Row, (), (id))

const pg::Family<Row> family{
    "test.list", "select id from t where true", {}, {{"name", "t.name"}, {"created_at", "t.created_at"}}};

RC_GTEST_PROP(Cursors, MeanWhatTheyMeant, (std::int64_t key)) {
  Cursor cursor;
  cursor.sort = *rc::gen::element<std::string>("name", "-created_at");
  cursor.key = key;
  cursor.id = Uuid::make();
  for (const auto point : *rc::gen::container<std::vector<int>>(rc::gen::inRange(1, 0x800)))
    cursor.text_key +=
        point < 0x80 ? std::string(1, static_cast<char>(point))
                     : std::string{static_cast<char>(0xC0 | (point >> 6)), static_cast<char>(0x80 | (point & 0x3F))};
  const auto back = Cursor::decode(cursor.encode());
  RC_ASSERT(back.has_value());
  RC_ASSERT(back->sort == cursor.sort);
  RC_ASSERT(back->key == key);
  RC_ASSERT(back->id == cursor.id);
  RC_ASSERT(back->text_key == cursor.text_key);
}

TEST(Cursors, HaveOneSpelling) {
  Cursor cursor;
  cursor.sort = "name";
  cursor.key = 7;
  cursor.id = *Uuid::parse("0195d6f0-0000-7000-8000-00000000000a");
  const auto text = cursor.encode();
  EXPECT_TRUE(Cursor::decode(text));
  const auto encoded = [](std::string_view plain) {
    Cursor other;  // all lines are in its sort; what follows becomes the text of the key
    other.sort = plain;
    return other.encode();
  };
  EXPECT_FALSE(Cursor::decode(""));
  EXPECT_FALSE(Cursor::decode(text + "="));
  EXPECT_FALSE(Cursor::decode(text + "\n"));
  EXPECT_FALSE(Cursor::decode(text.substr(1)));
  EXPECT_TRUE(Cursor::decode(encoded("name\n7\n0195d6f0-0000-7000-8000-00000000000a\n")));
  EXPECT_FALSE(Cursor::decode(encoded("name\n007\n0195d6f0-0000-7000-8000-00000000000a\n")));
  EXPECT_FALSE(Cursor::decode(encoded("name\n7\n0195D6F0-0000-7000-8000-00000000000A\n")));
  EXPECT_FALSE(Cursor::decode(std::string(10'000, 'A')));
}

TEST(Orders, AreThoseOfTheList) {
  EXPECT_EQ(order_of(family, std::nullopt, "-created_at").sort, 1u);
  EXPECT_TRUE(order_of(family, std::nullopt, "-created_at").descending);
  EXPECT_FALSE(order_of(family, "name", "-created_at").descending);
  for (const auto* sort : {"", "-", "--name", "+name", "Name", "name ", "name,created_at", "id"})
    EXPECT_THROW(order_of(family, sort, "name"), Problem) << sort;
}

}  // namespace
}  // namespace cairn::api
