#include "base/vault.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

namespace cairn {
namespace {

namespace fs = std::filesystem;

class AVault : public testing::Test {
 protected:
  AVault() {
    std::string name = (fs::temp_directory_path() / "cairn-vault-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("mkdtemp");
    directory = name;
  }
  ~AVault() override { fs::remove_all(directory); }

  fs::path directory;
  const std::vector<std::uint8_t> secret{1, 2, 3, 0, 255};
  const Uuid ada = Uuid::make(), bob = Uuid::make();
};

TEST_F(AVault, OpensWhatItSealedForThatPersonOnly) {
  const auto& vault = Vault::in(directory / "a");
  const auto sealed = vault.seal(secret, ada);
  EXPECT_EQ(vault.open(sealed, ada), secret);
  EXPECT_EQ(vault.open(sealed, bob), std::nullopt);
  EXPECT_NE(vault.seal(secret, ada), sealed);
  EXPECT_EQ(Vault::in(directory / "b").open(sealed, ada), std::nullopt);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    auto bent = sealed;
    bent[i] ^= 1;
    EXPECT_EQ(vault.open(bent, ada), std::nullopt) << i;
  }
  EXPECT_EQ(vault.open(std::span(sealed).first(10), ada), std::nullopt);
  EXPECT_EQ(vault.open({}, ada), std::nullopt);
}

TEST_F(AVault, HasItsKeyInAFileThatIsMadeOnceAndIsNobodyElses) {
  const auto sealed = Vault::in(directory).seal(secret, ada);
  struct stat info {};
  ASSERT_EQ(stat((directory / "secrets.key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(info.st_size, 65);
  fs::create_directory(directory / "copy");
  fs::copy_file(directory / "secrets.key", directory / "copy" / "secrets.key");
  EXPECT_EQ(Vault::in(directory / "copy").open(sealed, ada), secret);
}

TEST_F(AVault, MarksTextsInTheirOrderAndApart) {
  const auto& vault = Vault::in(directory / "a");
  const auto mark = vault.mark({"one", "two"});
  EXPECT_EQ(mark.size(), 32u);
  EXPECT_EQ(vault.mark({"one", "two"}), mark);
  EXPECT_NE(vault.mark({"two", "one"}), mark);
  EXPECT_NE(vault.mark({"onetwo"}), mark);
  EXPECT_NE(vault.mark({"onet", "wo"}), mark);
  EXPECT_NE(Vault::in(directory / "b").mark({"one", "two"}), mark);
}

TEST_F(AVault, SaysWhenItsKeyIsNone) {
  std::ofstream(directory / "secrets.key") << "not a key\n";
  EXPECT_THROW(Vault::in(directory), std::runtime_error);
}

}  // namespace
}  // namespace cairn
