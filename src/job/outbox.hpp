#pragma once
// Mails that are owed. A mail is queued in the transaction that causes it, so it goes out if and only if that is
// committed; a worker of any server on the database sends it (worker.hpp).
#include <chrono>
#include <string>

#include "base/text.hpp"
#include "pg/tx.hpp"

namespace cairn::job {

struct Mail {
  Mail() = default;
  std::string kind;  // "verification": a-z and _, for logs and names of files
  Email to;
  std::string subject, text;                   // UTF-8; lines end with \n
  std::chrono::minutes good_for{3 * 24 * 60};  // after that nobody needs it any more and it is given up
};

// Needs an actor in `tx`. Sent soon after the commit.
async<> post(pg::Tx& tx, const Mail& mail);

// Makes this process's workers look now. Any thread.
void wake();

}  // namespace cairn::job
