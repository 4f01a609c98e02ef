#include "account/password.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/problem.hpp"

namespace cairn::account {
namespace {

// What people take when they need a password: the thing itself, the keyboard, greetings, feelings, names, animals,
// games, seasons, places, and words for whoever is in charge. Combined as is_common_password() says, some 10^8
// passwords.
constexpr std::string_view words = R"(
password passwort passwd pass word contrasena motdepasse parola haslo senha salasana secret geheim code login logon signin
signup account access enter open letmein admin administrator root user guest test testing tester temp temporary default
changeme change please system server computer internet network website online email mail example sample demo public private
master boss chief king queen prince princess lord lady hero super superman batman spiderman ironman captain pirate ninja
samurai wizard magic merlin gandalf hobbit matrix trustno starwars skywalker vader yoda startrek enterprise pokemon pikachu
naruto mario zelda sonic minecraft fortnite roblox warcraft halo gamer player game games football soccer baseball
basketball hockey tennis golf racing runner boxing rugby cricket yankees lakers cowboys arsenal chelsea liverpool barcelona
madrid juventus bayern dortmund milan
love lover loveme iloveyou ilove you iloveu loveyou forever always never heart sweet sweetie sweetheart honey baby babe
babygirl babyboy angel darling happy smile sunshine sunny rainbow flower rose lily daisy jasmine butterfly star stars moon
sun sky blue red green black white yellow orange purple pink silver gold golden diamond crystal fire ice water ocean river
mountain forest storm thunder lightning shadow night midnight dark light freedom peace hope faith trust lucky luck grace
jesus christ god heaven blessed church bible
monkey dragon tiger lion wolf bear eagle falcon hawk phoenix unicorn shark dolphin turtle snake spider rabbit bunny kitty
kitten puppy dog dogs cat cats hamster panda penguin ponies pony mustang bronco chicken duck cow pig fish bird
michael jordan jennifer jessica ashley amanda nicole daniel thomas andrew joshua matthew anthony robert william james john
david richard charles joseph george edward peter paul mark luke steven kevin brian jason justin ryan brandon tyler austin
alex alexander alexandra nicholas samuel benjamin hannah sarah emma olivia sophia sophie isabella maria anna laura julia
linda susan karen nancy lisa michelle melissa stephanie rachel rebecca elizabeth charlie harley buster maggie ginger
pepper cookie chocolate banana apple cherry strawberry lemon peach mango coffee pizza cheese butter sugar candy pumpkin
summer winter spring autumn january february march april june july august september october november december monday
tuesday wednesday thursday friday saturday sunday today tomorrow
london paris berlin vienna america england germany france italy spain canada mexico brazil india china japan russia
australia europe texas florida newyork california chicago boston dallas
company business office work working manager employee team sales money cash dollar bank rich million security secure safe
strong hello hallo hola bonjour ciao welcome willkommen goodbye good morning evening hi hey whatever nothing something
everything anything somebody nobody the and my your our is it in on me
one two three four five six seven eight nine ten first last new old big little hot cool cute sexy beautiful pretty crazy
stupid fuck fucker fuckyou shit bitch asshole killer death devil hell zombie metal rock music guitar piano drummer dance
dancer singer metallica nirvana eminem beatles
ferrari porsche mercedes toyota honda yamaha ducati corvette camaro chevy ford jeep audi bmw
google facebook yahoo hotmail gmail microsoft windows linux ubuntu debian apple iphone samsung android nokia motorola
oracle postgres postgresql redis mysql docker github cisco router switch wifi
abc abcd abcdef abcdefg alphabet qwerty qwertz azerty qwert asdf asdfgh asdfghjkl zxcv zxcvbn zxcvbnm qazwsx qazwsxedc
wsxedc edcrfv asd qwe zxc qaz wsx xyz xxx aaa zzz poiuy lkjhg mnbvc
cairn task tasks project projects organization ticket kanban planner
)";
constexpr std::size_t longest_word = 16;

const std::unordered_set<std::string_view>& known_words() {
  static const auto all = [] {
    std::unordered_set<std::string_view> set;
    for (auto rest = words; !rest.empty();) {
      const auto begin = rest.find_first_not_of(" \n");
      if (begin == std::string_view::npos) break;
      rest.remove_prefix(begin);
      const auto end = std::min(rest.find_first_of(" \n"), rest.size());
      set.insert(rest.substr(0, end));
      rest.remove_prefix(end);
    }
    return set;
  }();
  return all;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return c >= 'a' && c <= 'z'; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

// p4$$w0rd is password.
char unmasked(char c) {
  switch (c) {
    case '0': return 'o';
    case '1':
    case '!': return 'i';
    case '3': return 'e';
    case '4':
    case '@': return 'a';
    case '5':
    case '$': return 's';
    case '7': return 't';
    default: return c;
  }
}

// How long the run is that begins at `at`: all one character, or along one of the rows that fingers take, either way.
std::size_t run_length(std::string_view text, std::size_t at) {
  constexpr std::array<std::string_view, 9> rows{
      "01234567890", "abcdefghijklmnopqrstuvwxyz",           "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop",
      "azertyuiop",  "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "!@#$%^&*()"};
  const auto length = [&](const auto& follows) {
    std::size_t n = 1;
    while (at + n < text.size() && follows(text[at + n - 1], text[at + n])) ++n;
    return n;
  };
  auto best = length([](char a, char b) { return a == b; });
  for (const auto row : rows) {
    const auto next = [row](char a, char b) {
      for (std::size_t i = 0; i + 1 < row.size(); ++i)
        if (row[i] == a && row[i + 1] == b) return true;
      return false;
    };
    best = std::max({best, length(next), length([&](char a, char b) { return next(b, a); })});
  }
  return best;
}

// "abcabcab" is "abc".
std::string_view period(std::string_view text) {
  for (std::size_t length = 1; length <= text.size() / 2; ++length) {
    bool repeats = true;
    for (std::size_t i = length; i < text.size() && repeats; ++i) repeats = text[i] == text[i - length];
    if (repeats) return text.substr(0, length);
  }
  return text;
}

}  // namespace

bool is_common_password(std::string_view password) {
  constexpr unsigned most_pieces = 3, many = 1000;
  // Beyond that not even three pieces and their punctuation are common.
  if (password.size() > 256) password = password.substr(0, 256);
  const auto whole = lower(password);
  const auto text = period(whole);
  if (text.size() <= 4 && text.size() < whole.size()) return true;
  std::string plain(text);
  for (char& c : plain) c = unmasked(c);

  // The fewest pieces that make up what lies before each place; punctuation costs nothing.
  std::vector<unsigned> fewest(text.size() + 1, many);
  fewest[0] = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (fewest[at] == many) continue;
    const auto reach = [&](std::size_t length, unsigned cost) {
      fewest[at + length] = std::min(fewest[at + length], fewest[at] + cost);
    };
    if (!is_digit(text[at]) && !is_letter(text[at]) && static_cast<unsigned char>(text[at]) < 0x80) reach(1, 0);
    const auto left = text.size() - at;
    for (std::size_t length = 2; length <= std::min(longest_word, left); ++length)
      if (known_words().contains(std::string_view(plain).substr(at, length)) ||
          known_words().contains(text.substr(at, length)))
        reach(length, 1);
    for (std::size_t length = 1; length <= std::min<std::size_t>(4, left) && is_digit(text[at + length - 1]); ++length)
      reach(length, 1);
    for (std::size_t length = run_length(text, at); length >= 3; --length) reach(length, 1);
  }
  return fewest.back() <= most_pieces;
}

void check_password(const Secret& password, const Email& email, const Config& config, std::string_view pointer) {
  const auto refuse = [&](std::string_view code, std::string detail) {
    std::vector<FieldError> errors;
    errors.emplace_back(std::string(pointer), code, std::move(detail));
    throw Problem(Kind::invalid, "One member is not acceptable.").with(std::move(errors));
  };
  if (count_code_points(password.reveal()).value_or(0) < config.password.min_length)
    refuse("too_short", fmt::format("must have at least {} characters", config.password.min_length));
  const auto text = lower(password.reveal());
  const auto local = email.str().substr(0, email.str().find('@'));
  if (text.find(email.str()) != std::string::npos || (local.size() >= 5 && text.find(local) != std::string::npos))
    refuse("contains_email", "must not contain the e-mail address");
  if (is_common_password(password.reveal()))
    refuse("too_common", "is one that is guessed first: it is made of few common words, years and rows of keys");
}

}  // namespace cairn::account
