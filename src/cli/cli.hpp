#pragma once

namespace cairn::cli {

// The command line: reads it, runs the command, returns the exit status (0 done, 1 failed, 2 misused).
int run(int argc, char** argv);

}  // namespace cairn::cli
