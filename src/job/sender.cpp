#include "job/sender.hpp"

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <stdexcept>
#include <system_error>

namespace cairn::job {
namespace {

constexpr long connect_seconds = 10, transfer_seconds = 60;

struct Reading {
  std::string_view rest;
};

std::size_t read_some(char* to, std::size_t size, std::size_t count, void* from) {
  auto& rest = static_cast<Reading*>(from)->rest;
  const auto length = std::min(size * count, rest.size());
  std::memcpy(to, rest.data(), length);
  rest.remove_prefix(length);
  return length;
}

int ask_stopped(void* stopped, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  const auto& ask = *static_cast<const std::function<bool()>*>(stopped);
  return ask && ask() ? 1 : 0;
}

void check(CURLcode code) {
  if (code != CURLE_OK) throw std::runtime_error(curl_easy_strerror(code));
}

[[noreturn]] void raise(const std::filesystem::path& path) {
  throw std::system_error(errno, std::generic_category(), path.string());
}

}  // namespace

void Sender::Close::operator()(void* handle) const { curl_easy_cleanup(handle); }

Sender::Sender(const Config& config)
    : settings_(config.mail), directory_((std::filesystem::path(config.data_dir) / "mails").string()) {
  // The one that files are from by default names nobody who could be answered.
  from_ = Mailbox::parse(settings_.from.empty() ? "Cairn <cairn@localhost.localdomain>" : settings_.from).value();
  if (settings_.url.empty()) return;
  static const CURLcode initialised = curl_global_init(CURL_GLOBAL_DEFAULT);
  check(initialised);
  curl_.reset(curl_easy_init());
  if (!curl_) throw std::runtime_error("curl_easy_init");
}

Sender::~Sender() = default;

std::string Sender::send(const Content& content, const std::string& kind, const std::function<bool()>& stopped) {
  const auto text = message(from_, content, Instant::now());
  if (settings_.url.empty()) return write(content, kind, text);
  transfer(content, text, stopped);
  return {};
}

void Sender::transfer(const Content& content, const std::string& text, const std::function<bool()>& stopped) {
  auto* curl = static_cast<CURL*>(curl_.get());
  const auto set = [curl](CURLoption option, auto value) { check(curl_easy_setopt(curl, option, value)); };
  curl_easy_reset(curl);  // keeps the connection
  Reading reading{text};
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> to(
      curl_slist_append(nullptr, ("<" + content.to.str() + ">").c_str()), curl_slist_free_all);
  set(CURLOPT_URL, settings_.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "smtp,smtps");
  set(CURLOPT_PROXY, "");  // not what the environment says
  set(CURLOPT_USE_SSL, long{settings_.require_tls ? CURLUSESSL_ALL : CURLUSESSL_TRY});
  set(CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
  if (!settings_.ca_file.empty()) set(CURLOPT_CAINFO, settings_.ca_file.c_str());
  if (!settings_.user.empty()) {
    set(CURLOPT_USERNAME, settings_.user.c_str());
    set(CURLOPT_PASSWORD, settings_.password.reveal().c_str());
  }
  set(CURLOPT_MAIL_FROM, ("<" + from_.address.str() + ">").c_str());
  set(CURLOPT_MAIL_RCPT, to.get());
  set(CURLOPT_UPLOAD, 1L);
  set(CURLOPT_READFUNCTION, &read_some);
  set(CURLOPT_READDATA, static_cast<void*>(&reading));
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT, connect_seconds);
  set(CURLOPT_TIMEOUT, transfer_seconds);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &ask_stopped);
  set(CURLOPT_XFERINFODATA, static_cast<void*>(const_cast<std::function<bool()>*>(&stopped)));
  const auto result = curl_easy_perform(curl);
  if (result == CURLE_OK) return;
  long reply = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply);
  // The server's own words may repeat the address.
  throw std::runtime_error(reply == 0 ? std::string(curl_easy_strerror(result))
                                      : fmt::format("{}, SMTP reply {}", curl_easy_strerror(result), reply));
}

std::string Sender::write(const Content& content, const std::string& kind, const std::string& text) const {
  namespace fs = std::filesystem;
  fs::create_directories(fs::path(directory_).parent_path());
  if (mkdir(directory_.c_str(), 0700) != 0 && errno != EEXIST) raise(directory_);
  auto moment = Instant::now().text().substr(0, 19);
  std::erase(moment, ':');
  const auto path = fs::path(directory_) / fmt::format("{}-{}-{}.eml", moment, kind, content.id);
  const auto unfinished = path.string() + ".part";
  const int file = open(unfinished.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (file < 0) raise(unfinished);
  std::string_view rest = text;
  while (!rest.empty()) {
    const auto written = ::write(file, rest.data(), rest.size());
    if (written < 0) break;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  const bool whole = rest.empty() && fsync(file) == 0;
  if (close(file) != 0 || !whole) raise(unfinished);
  fs::rename(unfinished, path);
  return path.string();
}

}  // namespace cairn::job
