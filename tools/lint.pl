#!/usr/bin/env perl
# The rules of this code base that no compiler knows. Only perl-base is needed.
#   tools/lint.pl FILE...             prints "file:line: rule: why" per breach; exit status 1 if there is any
#   tools/lint.pl --self-test         plants breaches and expects each to be found
#   tools/lint.pl --closure FILE...   per file one line: the file and every file of src it includes, directly or not
use strict;
use warnings;

my @breaches;

sub slurp {
  my ($path) = @_;
  open(my $in, '<', $path) or die "$path: $!\n";
  local $/;
  my $text = <$in>;
  return defined $text ? $text : '';
}

sub line_of { my ($text, $at) = @_; return 1 + (substr($text, 0, $at) =~ tr/\n//); }

sub breach { my ($path, $line, $rule, $why) = @_; push @breaches, [$path, $line, $rule, $why]; }

# Comments and the insides of literals become blanks; line breaks stay.
sub blanked {
  my ($text) = @_;
  my $blank = sub { (my $s = $_[0]) =~ s/[^\n]/ /g; $s };
  $text =~ s{
      (//[^\n]*)
    | (/\*.*?\*/)
    | R"([^(\s]*)\((.*?)\)\3"
    | "((?:[^"\\\n]|\\.)*)"
    | (?<![0-9a-zA-Z_])'((?:[^'\\\n]|\\.)+)'
  }{
      defined $1 ? $blank->($1) : defined $2 ? $blank->($2)
    : defined $4 ? '"' . $blank->("R$3($4)$3") . '"'
    : defined $5 ? '"' . $blank->($5) . '"' : "'" . $blank->($6) . "'"
  }gsex;
  return $text;
}

# --- Statements that await (docs/adr/0006-await-rule.md) -------------------------------------------------------------

# A statement that contains co_await must have no brace-init with content, no capturing lambda and no conditional.
# One pass over the tokens with a stack of what encloses them; each frame is one statement.
sub check_awaits {
  my ($path, $code) = @_;
  return unless $code =~ /\bco_await\b/;
  my @stack = ('block');
  my @frames = ({});
  my ($previous, $before) = (';', '');

  my $finish = sub {
    my $frame = $frames[-1];
    if ($frame->{await}) {
      breach($path, $frame->{$_->[0]}, 'await', "$_->[1] in a statement with co_await")
        for grep { $frame->{$_->[0]} }
        ['init', 'brace initialiser'], ['lambda', 'capturing lambda'], ['conditional', 'conditional expression'];
    }
    $frames[-1] = {};
  };
  my $open = sub { push @stack, $_[0]; push @frames, {} if $_[0] =~ /block|lambda|control/; };
  my $close = sub {
    my $kind = pop @stack;
    @stack = ($kind = 'block') unless @stack;
    if ($kind =~ /block|lambda|control/ && @frames > 1) { $finish->(); pop @frames; }
    return $kind;
  };

  while ($code =~ /\G\s*(?:([A-Za-z_]\w*)|(->|::|<<|&&|\|\||\d[\w.']*|"[^"]*"|'[^']*'|.))/gs) {
    my $token = defined $1 ? $1 : $2;
    last unless defined $token;
    my $at = pos($code) - length($token);
    my $frame = $frames[-1];
    my $line = sub { line_of($code, $at) };
    my $rest = $token =~ /^[\[{]$/ ? substr($code, $at + 1, 200) : '';
    if ($token eq '#' && substr($code, 0, $at) =~ /(?:^|\n)[ \t]*$/) {
      $code =~ /\G(?:[^\n]*\\\n)*[^\n]*/g;  # a preprocessor line
      next;
    }
    if ($token eq 'co_await') {
      $frame->{await} = 1;
    } elsif ($token eq '?') {
      $frame->{conditional} ||= $line->();
    } elsif ($token eq '(') {
      $open->($previous =~ /^(?:if|while|for|switch|constexpr)$/ ? 'control' : 'paren');
    } elsif ($token eq '[') {
      my $subscript = $previous =~ /^(?:[A-Za-z_]\w*|\)|\]|"[^"]*")$/ && $previous !~ /^(?:return|co_return|co_await|co_yield)$/;
      my $binding = $previous =~ /^(?:auto|&|&&)$/ && $before =~ /^(?:auto|const|)$/ && $stack[-1] =~ /block|lambda|control/;
      my $attribute = $previous eq '[' || $rest =~ /^\[/;
      if (!$subscript && !$binding && !$attribute) {
        $frame->{lambda} ||= $line->() if $rest !~ /^\s*\]/;
        $frame->{pending} = scalar @stack;
      }
      $open->('bracket');
    } elsif ($token eq '{') {
      my $kind;
      if (defined $frame->{pending} && $frame->{pending} == @stack) {
        delete $frame->{pending};
        $kind = 'lambda';
      } elsif ($previous =~ /^(?:[);{}:]|else|do|try|const|noexcept|override|final|requires)$/ || $frame->{declares}
               || ($frame->{arrow} && $stack[-1] eq 'block')) {
        $kind = 'block';
      } else {
        $kind = 'init';
        # Numbers and durations have nothing to destroy.
        my $scalar = $previous =~ /^(?:u?int\d+_t|size_t|bool|int|unsigned|double|\w*seconds|minutes|hours|days)$/;
        $frame->{init} ||= $line->() unless $scalar || $rest =~ /^\s*\}/;
      }
      # The head of a block ("if (...)") is a statement of its own.
      $finish->() if $kind eq 'block' && $stack[-1] =~ /block|lambda/;
      $open->($kind);
    } elsif ($token =~ /^[)\]}]$/) {
      my $kind = $close->();
      $finish->() if $kind eq 'block' && $stack[-1] =~ /block|lambda/;
    } elsif ($token eq ';') {
      $finish->() if $stack[-1] =~ /block|lambda|control/;
    } elsif ($token =~ /^(?:namespace|struct|class|enum|union|extern|concept)$/ && $stack[-1] eq 'block'
             && $previous !~ /^[<,]$/) {
      $frame->{declares} = 1;
    } elsif ($token eq '->' && $previous eq ')' && !$frame->{await}) {
      $frame->{arrow} = 1;
    }
    ($before, $previous) = ($previous, $token);
  }
}

# --- The include graph -----------------------------------------------------------------------------------------------

my %needs;  # folder -> folders it may include, itself and the indirect ones with it
sub read_folders {
  my ($text) = @_;
  %needs = ();
  while ($text =~ /^\s*cairn_folder\((\w+)(?:\s+NEEDS\s+([\w\s]+))?\)/mg) {
    my ($folder, @direct) = ($1, split ' ', defined $2 ? $2 : '');
    $needs{$folder} = {$folder => 1};
    for my $need (@direct) {
      $needs{$folder}{$_} = 1 for $need, keys %{$needs{$need} || {}};
    }
  }
}

sub check_includes {
  my ($path, $text) = @_;
  my ($folder) = $path =~ m{^src/(\w+)/};
  return unless defined $folder;
  while ($text =~ /^[ \t]*#[ \t]*include[ \t]*(?:"(\w+)\/[^"]*"|<(boost\/beast)[^>]*>)/mg) {
    my $line = line_of($text, $-[0]);
    if (defined $2) {
      breach($path, $line, 'include', 'Beast belongs to src/http')
        unless $folder eq 'http' || $path eq 'src/base/libs.cpp';
    } elsif (!$needs{$folder}) {
      breach($path, $line, 'include', "cmake/folders.cmake does not know $folder");
    } elsif ($needs{$1} && !$needs{$folder}{$1}) {
      breach($path, $line, 'include', "$folder does not need $1 (cmake/folders.cmake)");
    }
  }
}

# --- Words -----------------------------------------------------------------------------------------------------------

# In code, outside comments and literals.
my @code_rules = (
  [qr/\bPQescape\w*/, 'sql', 'parameters are bound, never escaped'],
  [qr/\bredis(?:v|Append|Async)*Command\s*\((?![^,"]*,\s*")/, 'redis', 'a format must be a literal'],
  [qr/\bstd::w?regex\b/, 'regex', 'std::regex runs out of stack on long input'],
  [qr/(?<![\w.:>])(?:std::)?s?rand\s*\(/, 'random', 'not random enough'],
  [qr/(?<![\w.:>])(?:std::|::)?(?:system|popen)\s*\(/, 'shell', 'no shell'],
  [qr/\b(?:strcpy|strcat|sprintf|vsprintf|gets|alloca)\s*\(/, 'unbounded', 'writes without a limit'],
  [qr/\bRole::\w+ (?:<|>|<=|>=|<=>) |[\w)\]] (?:<|>|<=|>=|<=>) (?:\w+::)*Role::|\brole_? (?:<|>|<=|>=|<=>) /, 'role',
    'roles have no order'],
);
# In SQL, which is all in raw literals.
my @sql_rules = (
  [qr/\brole\b\s*(?:::\s*\w+\s*)?(?:<(?!>)|>)=?\s*['\$\w]/, 'role', 'roles have no order'],
);
# In every text file. The pieces keep this file from finding itself.
my $hosts = join '|', map { quotemeta } 'registry.npm' . 'js.org', 'deb.debian' . '.org', 'security.debian' . '.org',
  'pypi' . '.org', 'files.pythonhosted' . '.org', 'crates' . '.io', 'repo.maven' . '.apache.org';
my $marker = join '|', 'TO' . 'DO', 'FIX' . 'ME', 'XX' . 'X\b(?!X)';
my @text_rules = (
  [qr/(?<![A-Za-z])(?:$marker)(?![A-Za-z])/, 'marker', 'finish it or open an issue'],
  [qr{(?<![\w.*/])/(?:work|root|home)/\w}, 'path', 'a path of one machine'],
  [qr/$hosts/, 'host', 'where packages come from is the machine\'s business'],
);

sub check_words {
  my ($path, $text, @rules) = @_;
  for my $rule (@rules) {
    my ($pattern, $name, $why) = @$rule;
    while ($text =~ /$pattern/g) { breach($path, line_of($text, $-[0]), $name, $why); }
  }
}

sub check_file {
  my ($path, $text) = @_;
  check_words($path, $text, @text_rules);
  return unless $path =~ /\.[ch]pp$/;
  my $code = blanked($text);
  check_includes($path, $text);
  check_awaits($path, $code);
  check_words($path, $code, grep { $path !~ /_test\.cpp$/ || $_->[1] ne 'redis' } @code_rules);
  while ($text =~ /R"(\w*)\((.*?)\)\1"/gs) {
    my ($sql, $line) = ($2, line_of($text, $-[0]));
    for my $rule (@sql_rules) { breach($path, $line, $rule->[1], $rule->[2]) if $sql =~ $rule->[0]; }
  }
}

# --- Self-test -------------------------------------------------------------------------------------------------------

sub self_test {
  read_folders("cairn_folder(base)\ncairn_folder(pg NEEDS base)\ncairn_folder(http NEEDS base)\ncairn_folder(api NEEDS pg)\n");
  my @cases = (  # path, text, the rules it breaks
    ['src/api/a.cpp', qq{#include "base/id.hpp"\n#include "api/b.hpp"\n#include <vector>\n}, ''],
    ['src/pg/a.cpp', qq{#include "api/b.hpp"\n}, 'include'],
    ['src/pg/a.cpp', qq{  # include "http/b.hpp"\n}, 'include'],
    ['src/lost/a.cpp', qq{#include "base/b.hpp"\n}, 'include'],
    ['src/api/a.cpp', qq{#include <boost/beast/core.hpp>\n}, 'include'],
    ['src/http/a.cpp', qq{#include <boost/beast/core.hpp>\n}, ''],
    ['src/base/libs.cpp', qq{#include <boost/beast/src.hpp>\n}, ''],

    ['a.cpp', 'async<> f() { co_await g(Flat{1, 2}); }', 'await'],
    ['a.cpp', 'async<> f() { co_await g({1, 2}); }', 'await'],
    ['a.cpp', "async<> f() {\n  Flat x{co_await g(), 1};\n}", 'await'],
    ['a.cpp', 'async<> f() { co_return Flat{co_await g()}; }', 'await'],
    ['a.cpp', 'async<> f() { if (co_await g(Flat{1})) { h(); } }', 'await'],
    ['a.cpp', 'async<> f() { for (auto& x : co_await g(Flat{1})) h(x); }', 'await'],
    ['a.cpp', 'async<> f() { co_await g([this] { h(); }); }', 'await'],
    ['a.cpp', 'async<> f() { co_await g([&](int x) -> async<> { co_await h(x); }); }', 'await'],
    ['a.cpp', 'async<> f() { const auto x = ok ? co_await g() : 1; }', 'await'],
    ['a.cpp', 'auto f() -> async<int> { co_return plain(Flat{1}, co_await g()); }', 'await'],
    ['a.cpp', 'async<> f() { auto l = [](int x) -> async<> { co_await g(Flat{x}); }; }', 'await'],
    ['a.cpp', 'struct S { async<> f() { co_await g(Flat{1}); } };', 'await'],
    ['a.cpp', 'async<> f() { while (true) { x[1] = co_await g(y[0], Flat{1}); } }', 'await'],

    ['a.cpp', 'async<> f() { Flat x{1, 2}; co_await g(std::move(x)); }', ''],
    ['a.cpp', 'async<> f() { const auto l = [this](int x) { h(x); }; co_await g(l); }', ''],
    ['a.cpp', 'async<> f() { co_await g(Flat{}); co_await h([] { return 1; }); co_await i({}); }', ''],
    ['a.cpp', 'async<> f() { const auto [a, b] = co_await g(); auto& [c, d] = x; if (auto y = co_await h(); y) { i(); } }', ''],
    ['a.cpp', 'async<> f() { if (ok) { Flat x{1}; } else { co_await g(); } throw X{1}; }', ''],
    ['a.cpp', 'async<> f() { co_await g("{1}", \'{\', t[1]); /* Flat{1} */ }', ''],
    ['a.cpp', 'async<> f() { auto l = [this]() -> async<> { co_await g(); }; int x = ok ? 1 : 2; co_await l(); }', ''],
    ['a.cpp', 'async<> f() { co_await g(std::int64_t{x}, seconds{1}); redisCommand(c.get(), "PING"); }', ''],
    ['a.cpp', '[[nodiscard]] async<> f([[maybe_unused]] int x) { Flat y{1}; co_await g(); }', ''],
    ['a.cpp', 'namespace a { enum class E { one, two }; struct S { int x{1}; }; async<> f() { co_await g(); } }', ''],
    ['a.cpp', 'async<> f() { try { co_await g(); } catch (const X& e) { h(Flat{1}); } }', ''],
    ['a.cpp', "async<> f() { switch (x) { case 1: { co_await g(); break; } default: h({1}); } }", ''],
    ['a.cpp', "#define M(x) \\\n  Flat{x, 1}\nasync<> f() { co_await g(); }", ''],

    ['a.cpp', 'void f() { PQescapeLiteral(c, s, n); }', 'sql'],
    ['a.cpp', 'void f() { redisCommand(c, format); }', 'redis'],
    ['a.cpp', 'std::regex r("a");', 'regex'],
    ['a.cpp', 'int x = rand();', 'random'],
    ['a.cpp', 'int x = std::system("ls");', 'shell'],
    ['a.cpp', 'void f() { popen("ls", "r"); }', 'shell'],
    ['a.cpp', 'void f() { sprintf(b, "x"); }', 'unbounded'],
    ['a.cpp', 'bool b = role >= Role::admin;', 'role'],
    ['a.cpp', 'bool b = x < org::Role::admin;', 'role'],
    ['a.cpp', 'auto q = R"sql(select 1 where m.role >= \'admin\')sql";', 'role'],
    ['a.cpp', '// TO' . 'DO later', 'marker'],
    ['a.md', 'see /wor' . 'k/main/x', 'path'],
    ['a.md', 'from registry.npm' . 'js.org', 'host'],

    ['a.cpp', 'file_system(x); // rand() system() std::regex', ''],
    ['a.cpp', 'std::vector<Role> roles; Id<Role> x; auto q = R"sql(select 1 where role = \'admin\')sql"; const char* s = "rand(";', ''],
    ['a.cpp', 'error_code e(1, std::system_category()); x.random(); engine::rand(1);', ''],
    ['a.md', 'GET /api/work/items, https://example.org/home/x, src/home/x', ''],
  );
  my $wrong = 0;
  for my $case (@cases) {
    my ($path, $text, $expected) = @$case;
    @breaches = ();
    check_file($path, $text);
    my $found = join ' ', map { $_->[2] } @breaches;
    next if $found eq $expected;
    ++$wrong;
    print "self-test: expected '$expected', found '$found' in: $text\n";
  }
  @breaches = ();
  print scalar(@cases) - $wrong, ' of ', scalar(@cases), " planted cases as expected\n";
  exit($wrong ? 1 : 0);
}

# --- Closure ---------------------------------------------------------------------------------------------------------

sub closure {
  my ($file, $seen) = @_;
  return if $seen->{$file}++;
  my $text = slurp($file);
  while ($text =~ /^[ \t]*#[ \t]*include[ \t]*"([^"]+)"/mg) {
    closure("src/$1", $seen) if -f "src/$1";
  }
}

@ARGV or die "usage: tools/lint.pl --self-test | --closure FILE... | FILE...\n";
self_test() if $ARGV[0] eq '--self-test';
if ($ARGV[0] eq '--closure') {
  shift @ARGV;
  for my $file (@ARGV) {
    my %seen;
    closure($file, \%seen);
    print join(' ', $file, sort grep { $_ ne $file } keys %seen), "\n";
  }
  exit 0;
}
read_folders(slurp('cmake/folders.cmake'));
check_file($_, slurp($_)) for @ARGV;
print "$_->[0]:$_->[1]: $_->[2]: $_->[3]\n" for @breaches;
exit(@breaches ? 1 : 0);
