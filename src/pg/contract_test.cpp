#include "pg/contract.hpp"

#include <gmock/gmock.h>

#include "pg/family.hpp"
#include "pg/scratch.hpp"

namespace cairn::pg {
namespace {

using scratch::Server;
using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

BOOST_DEFINE_ENUM_CLASS(Mood, happy, sad)

struct Card {
  Card() = default;
  Uuid id;
  std::string name;
  Mood mood{};
  std::optional<Instant> due;
};
BOOST_DESCRIBE_STRUCT(Card, (), (id, name, mood, due))

class Contract : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    database_ = Server::instance().make_database();
    execute("create type mood as enum ('happy', 'sad')");
    execute(
        "create table cards (id uuid primary key default gen_random_uuid(), name text not null, mood mood not null, "
        "due timestamptz, list int not null)");
    execute(
        "insert into cards (name, mood, due, list) select 'card ' || i, (array['happy', 'sad']::mood[])[i % 2 + 1], "
        "case when i % 5 > 0 then '2026-01-01'::timestamptz + (i % 7) * interval '1 day' end, 1 from "
        "generate_series(1, 100) i");
    execute("grant select on cards to cairn_app");
    execute("create view cards_as_they_are as select id, name, mood, due from cards");
    execute("create view cards_in_another_order as select id, mood, name, due from cards");
  }
  static void execute(const std::string& sql) { Server::execute(Server::instance().owner(database_), sql); }
  static std::vector<std::string> differences() {
    const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(
        PQconnectdb(Server::instance().owner(database_).c_str()), PQfinish);
    return mismatches(connection.get());
  }
  static inline std::string database_;
};

TEST_F(Contract, DescribesAStatement) {
  static const Sql<Card(Mood)> cards{"contract.cards", "select id, name, mood, due from cards where mood = $1"};
  const std::unique_ptr<PGconn, void (*)(PGconn*)> connection(PQconnectdb(Server::instance().owner(database_).c_str()),
                                                              PQfinish);
  const auto described = describe(connection.get(), cards);
  EXPECT_THAT(described.param_types, ElementsAre("mood"));
  EXPECT_THAT(described.columns, ElementsAre(Pair("id", "uuid"), Pair("name", "text"), Pair("mood", "mood"),
                                             Pair("due", "timestamp with time zone")));
  EXPECT_THAT(differences(), Not(Contains(HasSubstr("contract.cards:"))));
}

TEST_F(Contract, FindsEveryKindOfDifference) {
  enum class Wrong { happy, angry };
  const Sql<std::int64_t(std::string)> param{"contract.param", "select count(*) from cards where id = $1"};
  const Sql<std::int32_t()> column{"contract.column", "select count(*) from cards"};
  const Sql<Card()> missing{"contract.missing", "select id, name, mood from cards"};
  const Sql<Card()> extra{"contract.extra", "select id, name, mood, due, list from cards"};
  const Sql<Card()> refused{"contract.refused", "select nothing from nowhere"};
  const Sql<Card()> columns{"contract.columns", "select id, name, mood, due from cards", Reply::one};
  const Sql<Card()> whole{"contract.whole", "select c from cards c", Reply::one};
  const Sql<Card()> order{"contract.order", "select o from cards_in_another_order o", Reply::one};
  const Sql<Card()> fits{"contract.fits", "select f from cards_as_they_are f", Reply::one};
  const Sql<void(std::int64_t)> narrow{"contract.narrow", "update cards set list = $1"};
  const auto found = differences();
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("contract.param: parameter $1"), HasSubstr("uuid"))));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("contract.column: column count"), HasSubstr("bigint"))));
  EXPECT_THAT(found, Contains("contract.missing: column due: missing"));
  EXPECT_THAT(found, Contains("contract.extra: column list: no member takes it"));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("contract.refused:"), HasSubstr("nowhere"))));
  EXPECT_THAT(found, Contains(HasSubstr("contract.narrow: parameter $1")));
  EXPECT_THAT(found, Contains("contract.columns: column id: missing"));
  EXPECT_THAT(found, Contains("contract.whole: column list: no member takes it"));
  EXPECT_THAT(found, Contains(HasSubstr("contract.order: column name: not where its member is")));
  EXPECT_THAT(found, Not(Contains(HasSubstr("contract.fits"))));
}

TEST_F(Contract, ComparesTheLabelsOfEnums) {
  const Sql<std::vector<Mood>()> same{"contract.moods", "select array_agg(mood) from cards"};
  EXPECT_THAT(differences(), Not(Contains(HasSubstr("contract.moods"))));
  execute("alter type mood add value 'tired'");
  EXPECT_THAT(differences(), Contains(AllOf(HasSubstr("contract.moods"), HasSubstr("tired"))));
  execute("drop table cards cascade; drop type mood");
  SetUpTestSuite();
}

TEST(Statements, HaveNamesOfTheirOwn) {
  const Sql<void()> first{"contract.same", "select 1"};
  EXPECT_THROW((Sql<void()>{"contract.same", "select 2"}), std::logic_error);
  EXPECT_THAT(statements(), Contains(&first));
}

const Family<Card> cards{"contract.family",
                         "select t.id, t.name, t.mood, t.due from cards t where t.list = {}",
                         {filter<std::vector<Mood>>("t.mood = any({})"),
                          filter<Instant, Instant>("t.due between {} and {}"), "t.due is null"},
                         {{"due", "coalesce(t.due, 'infinity')"}, {"name", "t.name"}}};

TEST(Families, PutTheirVariantsTogetherFromFragments) {
  EXPECT_EQ(cards.variant(0, 0, false, false).text(),
            "select t.id, t.name, t.mood, t.due from cards t where t.list = $1 "
            "order by coalesce(t.due, 'infinity'), t.id limit $2");
  const auto& all = cards.variant(7, 1, true, true);
  EXPECT_EQ(all.text(),
            "select t.id, t.name, t.mood, t.due from cards t where t.list = $1 and (t.mood = any($2)) and "
            "(t.due between $3 and $4) and (t.due is null) and (t.name, t.id) < ($5, $6) "
            "order by t.name desc, t.id desc limit $7");
  EXPECT_EQ(all.placeholders(), 7U);
  EXPECT_EQ(&cards.variant(7, 1, true, true), &all);
  EXPECT_EQ(cards.sort("name"), 1U);
  EXPECT_EQ(cards.sort("list"), std::nullopt);
  EXPECT_THROW(cards.variant(0, 2, false, false), std::out_of_range);
}

TEST_F(Contract, CoversEveryFragmentOfAFamily) {
  EXPECT_THAT(differences(), Not(Contains(HasSubstr("contract.family"))));
  const Family<Card> wrong{"contract.wrong_family",
                           "select t.id, t.name, t.mood, t.due from cards t where t.list = {}",
                           {filter<std::string>("t.mood = any({})")},
                           {{"due", "t.due"}, {"age", "t.age"}}};
  const auto found = differences();
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("contract.wrong_family/1.due: parameter $2"), HasSubstr("mood[]"))));
  EXPECT_THAT(found, Contains(HasSubstr("contract.wrong_family/0.age.desc.after:")));
}

TEST_F(Contract, PagesThroughAFamilyWithoutGapsOrRepeats) {
  auto configured = scratch::settings();
  configured.conninfo = Server::instance().app(database_);
  const auto body = [](Pool& pool) -> async<> {
    auto tx = pool.read();
    const std::vector<Mood> sad{Mood::sad};
    for (const bool descending : {false, true}) {
      std::vector<Card> seen;
      for (bool more = true; more;) {
        Params params;
        params.add(std::int32_t{1}).add(sad);
        if (!seen.empty()) params.add(seen.back().due.value_or(Instant::infinity())).add(seen.back().id);
        params.add(std::int64_t{7});
        const auto& page = cards.variant(1, 0, descending, !seen.empty());
        const auto rows = co_await tx.all<Card>(page, std::move(params));
        seen.insert(seen.end(), rows.begin(), rows.end());
        more = rows.size() == 7;
      }
      EXPECT_EQ(seen.size(), 50U);
      const auto key = [](const Card& card) { return std::pair(card.due.value_or(Instant::infinity()), card.id); };
      if (descending) std::ranges::reverse(seen);
      EXPECT_EQ(std::ranges::adjacent_find(seen, std::greater_equal{}, key), seen.end());
    }
  };
  scratch::with_pool(configured, body);
}

}  // namespace
}  // namespace cairn::pg
