# Sourced by the commands in bin, from the root of the checkout.

# build PRESET TARGET...: configures when needed and builds. Progress stays on one line of a terminal; what a compiler
# or linker has to say is always shown.
build() {
  local preset=$1 dir=build/$1 log
  shift
  mkdir -p "$dir"
  log=$dir/configure.log
  if [[ ! -f $dir/build.ninja || CMakePresets.json -nt $dir/build.ninja ]]; then
    echo "Configuring ($preset)"
    cmake --preset "$preset" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
  fi
  if [[ -t 1 ]]; then
    ninja -C "$dir" "$@"
  else
    # Not a terminal: the lines of progress would be thousands.
    ninja -C "$dir" --quiet "$@"
  fi
}
